// A package registry on the loopback that offers packed packages to npm, so that an installation is
// what a user's will be: two names in, everything else through their manifests.
import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const host = '127.0.0.1';

/**
 * Serves packages ({manifest, packed}) under a free port. Resolves to {origin, close}. Only the given names
 * are known: npm asks its own registry for all others when just the scope is sent here.
 */
export const openRegistry = (packages) =>
  new Promise((resolve, reject) => {
    const byName = new Map(packages.map((one) => [one.manifest.name, one]));
    // npm caches by address: no address of an earlier run may come back.
    const base = `/${randomUUID()}/`;
    const server = createServer((request, response) => {
      const [name, file] = decodeURIComponent(request.url ?? '')
        .slice(base.length)
        .split('/-/');
      const found = byName.get(name);
      if (found === undefined) {
        response
          .writeHead(404, { 'content-type': 'application/json' })
          .end('{"error":"Not found"}');
        return;
      }
      if (file !== undefined) {
        response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(found.packed);
        return;
      }
      const { manifest, packed } = found;
      const integrity = `sha512-${createHash('sha512').update(packed).digest('base64')}`;
      const tarball = `http://${host}:${server.address().port}${base}${name}/-/${manifest.version}.tgz`;
      const version = { ...manifest, dist: { tarball, integrity } };
      const versions = { [manifest.version]: version };
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ name, 'dist-tags': { latest: manifest.version }, versions }));
    });
    server.once('error', reject);
    server.listen(0, host, () => {
      resolve({
        origin: `http://${host}:${server.address().port}${base}`,
        close: () => {
          server.closeAllConnections();
          server.close();
        },
      });
    });
  });
