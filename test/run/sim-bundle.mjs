// Bundles the simulator with esbuild. `patches` replace text in single source files on the way: a planted
// fault lives only in the bundle that it is made for.
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { root } from './steps.mjs';

const require = createRequire(path.join(root, 'packages/crdt-automerge/package.json'));

/** Automerge brings its own wasm file: it is loaded from where it lies. */
const automerge = {
  name: 'automerge',
  setup(builder) {
    builder.onResolve({ filter: /^@automerge\// }, ({ path: name }) => {
      return { path: pathToFileURL(require.resolve(name)).href, external: true };
    });
  },
};

/** Source with its patches; each text that is replaced must be there once. */
const withPatches = (text, file, patches) =>
  patches.reduce((source, { find, replace }) => {
    if (source.split(find).length !== 2) throw new Error(`${file} does not hold once: ${find}`);
    return source.replace(find, () => replace);
  }, text);

const patched = (patches) => ({
  name: 'patches',
  setup(builder) {
    for (const file of new Set(patches.map((one) => one.file))) {
      const full = path.join(root, file);
      const own = patches.filter((one) => one.file === file);
      builder.onLoad(
        { filter: new RegExp(`${path.basename(file).replaceAll('.', '\\.')}$`) },
        async (args) => {
          if (args.path !== full) return undefined;
          const text = await readFile(full, 'utf8');
          return { contents: withPatches(text, file, own), loader: 'ts' };
        },
      );
    }
  },
});

/** Writes the bundle `name`; resolves with its file. */
export const bundleSimulation = async ({ name = 'main', patches = [] } = {}) => {
  const file = path.join(root, 'node_modules/.cache/tidemark/simulation', `${name}.mjs`);
  await build({
    entryPoints: [path.join(root, 'test/simulation/main.ts')],
    outfile: file,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    conditions: ['@tidemark/source'],
    logLevel: 'error',
    plugins: [automerge, patched(patches)],
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  });
  return { file };
};
