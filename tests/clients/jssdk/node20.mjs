// matrix-js-sdk asks for Node 22. This is all that it misses in Node 20, and what
// keeps its log away from standard output.
Promise.withResolvers ??= function () {
  const all = {};
  all.promise = new this((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
};

for (const method of ["debug", "info", "log", "trace"]) console[method] = console.error;
