import { rm } from 'node:fs/promises';
import path from 'node:path';
import { natsUrl, openStage } from './stage.js';
import {
  compare,
  editOffline,
  firstSync,
  foreignRow,
  importRecords,
  incremental,
  meet,
  openDevice,
  resolve,
  type Stage,
} from './story.js';
import { openTerminal, seconds } from './terminal.js';

const folder = path.resolve('.tidemark-demo');
const started = performance.now();
const terminal = openTerminal(process.stdout);
// Each run tells the story from its beginning; the folder of the last run is replaced.
await rm(folder, { recursive: true, force: true });
const { server, others, transport, close } = await openStage(folder, natsUrl());
if (others.length > 0) terminal.say('Two servers follow one stream of a real nats-server.');
const stage: Stage = { terminal, server, others, transport, folder, now: Date.now };
try {
  await importRecords(stage);
  const a = await openDevice(stage, 'a');
  const b = await openDevice(stage, 'b');
  await firstSync(stage, a, b);
  const cast = await editOffline(stage, a, b);
  await foreignRow(stage, cast);
  await meet(stage, a, b, cast);
  await resolve(stage, a, b, cast);
  await incremental(stage, a, cast);
  const equal = await compare(stage, a, b);
  await a.close();
  await b.close();
  terminal.chapter(equal ? 'Done' : 'Something is wrong: the fingerprints differ');
  terminal.say(
    `The story took ${seconds(performance.now() - started)}. Its data stays in ${path.basename(folder)}/.`,
  );
  terminal.say('Look around in it, offline:');
  terminal.say('  npm run explore -- a cities \'country = "SK" and population > 50000\'');
  terminal.say('  npm run explore -- b visits');
  if (!equal) process.exitCode = 1;
} finally {
  await close();
}
