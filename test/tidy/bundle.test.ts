import { existsSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { root } from './repository.js';

const portable = ['model', 'merge', 'filter', 'protocol', 'client', 'transport-nats'];

/** tweetnacl, below nats-core, tries the browser's own first; its manifest leaves this one out there. */
const leftOutInBrowsers = ['(disabled):crypto'];

test('what runs on a device bundles for a browser without Node built-ins', async () => {
  const present = portable.filter((name) =>
    existsSync(path.join(root, 'packages', name, 'src/index.ts')),
  );
  expect(present.length).toBeGreaterThan(0);
  const { errors, metafile } = await build({
    stdin: {
      contents: present
        .map((name) => `export * as ${name.replaceAll('-', '_')} from '@tidemark/${name}';`)
        .join('\n'),
      resolveDir: path.join(root, 'test'),
    },
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    conditions: ['@tidemark/source'],
    absWorkingDir: root,
    logLevel: 'silent',
  });
  expect(errors).toEqual([]);
  const inputs = Object.keys(metafile.inputs);
  for (const name of present) expect(inputs).toContain(`packages/${name}/src/index.ts`);
  const builtIns = inputs.filter((file) => /\(disabled\)|^node:/.test(file));
  expect(builtIns.filter((file) => !leftOutInBrowsers.includes(file))).toEqual([]);
});
