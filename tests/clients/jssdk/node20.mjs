// matrix-js-sdk asks for Node 22. This is all that it misses in Node 20, and what
// keeps the chatter of its log, but not its warnings, from us.
Promise.withResolvers ??= function () {
  const all = {};
  all.promise = new this((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
};

for (const method of ["debug", "info", "log", "trace"]) console[method] = () => {};
