// Writes docs/cli.md from the built command.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './steps.mjs';

const built = path.join(root, 'packages/cli/dist/index.js');
const { cliReference } = await import(pathToFileURL(built).href);
writeFileSync(path.join(root, 'docs/cli.md'), cliReference());
