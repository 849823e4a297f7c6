import { writeFileSync } from 'node:fs';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { CommandFolder } from '../processes/command-line.js';
import { guideSteps } from '../processes/guide.js';
import { describeOnNats } from '../processes/on-nats.js';
import { buildProgram } from '../processes/program.js';
import { freePort, startServing, type Serving } from '../processes/serving.js';

const folders: CommandFolder[] = [];
let entry = '';
beforeAll(async () => {
  entry = await buildProgram('tidemark');
});
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
});

describeOnNats('guides', () => {
  test('[CLI-73] a newcomer walks through the guides in an empty folder', async () => {
    const folder = new CommandFolder(entry);
    folders.push(folder);
    const natsPort = String(await freePort());
    let serving: Serving | undefined;
    let commands = 0;
    const run = async (line: string, codes: readonly number[]): Promise<void> => {
      const [program, ...args] = line.replace('4222', natsPort).split(' ');
      if (program === 'curl') {
        const url = (args[0] ?? '').replace('http://127.0.0.1:9465', serving?.http ?? '');
        expect((await fetch(url)).status, line).toBe(200);
        return;
      }
      expect(program, line).toBe('tidemark');
      const { code, out, err } = await folder.call(args);
      expect(codes, `${line}\n${out}${err}`).toContain(code);
      // Whoever reads along sees something.
      expect(out, line).not.toBe('');
      commands += 1;
    };
    for (const page of ['run-a-server.md', 'back-up-and-restore.md'])
      for (const step of guideSteps(page)) {
        if (step.kind === 'file') writeFileSync(folder.file(step.name), step.text);
        else if (step.kind === 'command') await run(step.line, step.codes);
        else if (step.kind === 'serve') {
          const [program, command, ...args] = step.line.replace('4222', natsPort).split(' ');
          expect([program, command]).toEqual(['tidemark', 'serve']);
          serving = await startServing(folder, args);
        } else {
          serving?.child.kill('SIGINT');
          expect((await serving?.ended)?.code).toBe(0);
        }
      }
    expect(commands).toBeGreaterThan(15);
    expect(serving).toBeDefined();
    // What the pages promised came to pass.
    const { out } = await folder.call(['export', 'visits', '--format', 'json']);
    expect(JSON.parse(out)).toMatchObject([{ id: 'v1', status: 'done', parts: 5 }, { id: 'v2' }]);
    expect(await folder.json<{ tenant: string }[]>('tenant', 'list')).toMatchObject([
      { tenant: 'acme' },
    ]);
    expect(folder.has('data/server.replaced-1')).toBe(true);
  });
});
