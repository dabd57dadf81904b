// The front door: CloudFront runs this for every request before anything else.
//
// HTTP APIs decode a path before they route it, cannot carry %2F and cut at a
// decoded ?, but Matrix needs the URI as it was sent: signatures of servers cover
// it, and half of all key backup sessions have a slash in their id. So the door
// puts the URI into a header, which functions read, and leaves in its place a
// path that is good for nothing but finding the function.

// Pairs of path prefixes that mean the same, the old one first. They are made
// from the further spellings of the routes.
var RENAMED = [];

var PREFLIGHT = {};

// What the URLs of the queues begin with at which requests wait.
var QUEUES = '';

function handler(event) {
  var request = event.request;
  if (request.method === 'OPTIONS') {
    return { statusCode: 204, statusDescription: 'No Content', headers: PREFLIGHT };
  }
  Object.keys(request.headers).forEach(function (name) {
    if (name.indexOf('x-virga-') === 0) delete request.headers[name];
  });
  // A missing query and an empty one are different URIs to a signature.
  var query = request.rawQueryString();
  var uri = query === undefined ? request.uri : request.uri + '?' + query;
  request.headers['x-virga-uri'] = { value: uri };
  request.headers['x-virga-ip'] = { value: event.viewer.ip };
  // The gateway receives from the queue that is named here.
  var waits = /^\/hold\/[^\/]+\/[^\/]+\/([a-z0-9]+)\/([a-d])$/.exec(request.uri);
  if (waits && QUEUES) request.headers['x-virga-queue'] = { value: QUEUES + waits[1] + waits[2] };
  // In the header already; twice would be twice against the gateway's 10,240 bytes.
  request.querystring = {};
  request.uri = routed(request.uri);
  return request;
}

function routed(uri) {
  // What others would tidy up names nothing here, as it does locally.
  if (/\/\/|\/\.\.?(\/|$)/.test(uri)) return '/~';
  var path = uri.split('/').map(segment).join('/');
  for (var i = 0; i < RENAMED.length; i++) {
    var from = RENAMED[i][0];
    if (path === from || path.indexOf(from + '/') === 0) {
      return RENAMED[i][1] + path.slice(from.length);
    }
  }
  return path;
}

// Escapes of characters that need none are undone, so that %6Aoin finds join.
// All others become ~XX, which no decoder touches. That two paths may become one
// is safe because functions never read parameters from it.
function segment(raw) {
  var plain = raw.replace(/%[0-9A-Fa-f]{2}/g, function (escape) {
    var c = String.fromCharCode(parseInt(escape.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(c) ? c : escape;
  });
  if (plain === '.' || plain === '..') plain = raw;
  return plain.replace(/%/g, '~');
}
