import { createHash } from 'node:crypto';
import { cp, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concatBytes, emptyHead, utf8Decode, utf8Encode } from '@tidemark/model';
import type { StoreDamage } from '@tidemark/ports';
import { openReplicaFolder } from '@tidemark/store-level/node';
import { chainedEntries } from '@tidemark/testkit';
import { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

const batches = 1_000;
const start = { lastIndex: 0, head: emptyHead };
const entries = chainedEntries(
  start,
  Array.from({ length: batches }, () => 1),
  150,
);
const id = (n: number): string => `id-${String(n).padStart(6, '0')}`;

let root = '';
let folder = '';
let store = '';

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-damage-'));
  folder = join(root, 'replica');
  store = join(folder, 'store');
});

afterEach(() => rm(root, { recursive: true, force: true }));

/** Writes 1,000 batches of one operation and one row each; the last 100 follow the last marker. */
const fill = async (fromIndex = 0): Promise<void> => {
  const replica = await openReplicaFolder(folder, { hash });
  for (const [n, entry] of entries.entries()) {
    if (n < fromIndex) continue;
    const puts = [
      { space: 'view', layer: 0, table: 1, id: id(n), value: utf8Encode(`["${n}"]`) },
    ] as const;
    await replica.store.write({ append: [entry], puts }, 'os');
    if (n === 899) {
      await replica.store.sync();
      await replica.marker.write(utf8Encode('published 900'));
    }
  }
  await replica.store.close();
};

/** Copies the files as a crash leaves them: the marker is older than the end of the store. */
const fillAndCrash = async (): Promise<void> => {
  const replica = await openReplicaFolder(folder, { hash });
  for (const [n, entry] of entries.entries()) {
    const puts = [
      { space: 'view', layer: 0, table: 1, id: id(n), value: utf8Encode(`["${n}"]`) },
    ] as const;
    await replica.store.write({ append: [entry], puts }, 'os');
    if (n === 899) {
      await replica.store.sync();
      await replica.marker.write(utf8Encode('published 900'));
    }
  }
  const copy = join(root, 'copy');
  await cp(folder, copy, { recursive: true });
  await replica.store.close();
  folder = copy;
  store = join(folder, 'store');
};

const namesOf = async (pattern: RegExp): Promise<readonly string[]> =>
  (await readdir(store)).filter((name) => pattern.test(name)).sort();

const newest = async (pattern: RegExp): Promise<string> => {
  const name = (await namesOf(pattern)).at(-1);
  if (name === undefined) throw new Error(`no file ${pattern.source}`);
  return join(store, name);
};

const flipBit = async (path: string, at: (size: number) => number): Promise<void> => {
  const bytes = await readFile(path);
  const place = at(bytes.length);
  bytes[place] = (bytes[place] as number) ^ 1;
  await writeFile(path, bytes);
};

const count = (damage: readonly StoreDamage[], kind: StoreDamage['kind']): number =>
  damage.filter((item) => item.kind === kind).reduce((sum, item) => sum + item.count, 0);

/** Opens, and compares what is reported with what is truly there. */
const openAndCount = async () => {
  const replica = await openReplicaFolder(folder, { hash });
  const kept = new Set((await replica.store.log.read(1, 10_000_000)).map(({ index }) => index));
  const rows = await replica.store.scanRows('view', 1, { layers: [0], limit: batches });
  return { ...replica, kept, rows: rows.rows.length, damage: replica.store.damage };
};

const snapshotOf = async (path: string): Promise<string> => {
  const lines: string[] = [];
  for (const name of (await readdir(path, { recursive: true })).sort()) {
    const file = join(path, name);
    if ((await stat(file)).isFile())
      lines.push(
        `${name} ${createHash('sha256')
          .update(await readFile(file))
          .digest('hex')}`,
      );
  }
  return lines.join('\n');
};

describe('damage that stops the opening', () => {
  it('[STO-30] does not take a folder without CURRENT for an empty one', async () => {
    await fill();
    await rm(join(store, 'CURRENT'));
    const before = await snapshotOf(root);
    await expect(openReplicaFolder(folder, { hash })).rejects.toMatchObject({
      code: 'storage-damaged',
      details: { tables: expect.any(Number), logs: 1, manifests: 1 },
    });
    await rm(join(folder, 'marker'));
    await expect(openReplicaFolder(folder, { hash })).rejects.toMatchObject({
      code: 'storage-damaged',
    });
    const marker = before.split('\n').filter((line) => line.startsWith('replica/marker '));
    expect((await snapshotOf(root)).split('\n')).toEqual(
      before.split('\n').filter((line) => !marker.includes(line)),
    );
  });

  it('[STO-31] does not create a store where the marker says that one was', async () => {
    await fill();
    await rm(store, { recursive: true });
    const before = await snapshotOf(root);
    for (const create of [true, false])
      await expect(openReplicaFolder(folder, { hash, create })).rejects.toMatchObject({
        code: 'store-missing',
        details: { tables: 0, logs: 0, manifests: 0 },
      });
    expect(await snapshotOf(root)).toBe(before);
    await rm(folder, { recursive: true });
    await expect(openReplicaFolder(folder, { hash, create: false })).rejects.toMatchObject({
      code: 'store-missing',
    });
    const fresh = await openReplicaFolder(folder, { hash });
    expect(fresh.store.log.end().lastIndex).toBe(0);
    await fresh.store.close();
  });

  it('[STO-32] refuses a second handle, another store and a newer format', async () => {
    await fill();
    const first = await openReplicaFolder(folder, { hash });
    await expect(openReplicaFolder(folder, { hash })).rejects.toMatchObject({
      code: 'folder-in-use',
    });
    await first.store.close();
    const other = join(root, 'other');
    await (await openReplicaFolder(other, { hash })).store.close();
    await cp(join(other, 'marker'), join(folder, 'marker'));
    await expect(openReplicaFolder(folder, { hash })).rejects.toMatchObject({
      code: 'storage-damaged',
    });
    await rm(join(folder, 'marker'));
    const raw = new ClassicLevel<Uint8Array, Uint8Array>(store, {
      keyEncoding: 'view',
      valueEncoding: 'view',
    });
    const identity = await raw.get(new Uint8Array([0, 1]));
    await raw.put(new Uint8Array([0, 1]), new Uint8Array([99, ...(identity ?? []).slice(1)]));
    await raw.close();
    await expect(openReplicaFolder(folder, { hash })).rejects.toMatchObject({
      code: 'newer-format',
      details: { found: 99 },
    });
  });
});

describe('damage of the .log', () => {
  it('[STO-33] counts the batches and operations that a flipped bit takes out of the middle', async () => {
    await fillAndCrash();
    await flipBit(await newest(/\.log$/), (size) => Math.floor(size / 2));
    const { kept, rows, damage, store: opened } = await openAndCount();
    const lost = batches - kept.size;
    expect(lost).toBeGreaterThan(0);
    expect(kept.has(batches)).toBe(true);
    expect(rows).toBe(batches - lost);
    expect(count(damage, 'image')).toBe(lost);
    expect(count(damage, 'log-hole')).toBe(lost);
    const missing = entries.filter(({ index }) => !kept.has(index)).map(({ index }) => index);
    const range = `${missing[0]}..${missing.at(-1)}`;
    expect(damage).toEqual([
      { kind: 'image', where: `batches ${range}`, count: lost },
      { kind: 'log-hole', where: `operations ${range}`, count: lost },
    ]);
    await opened.close();
  });

  it('[STO-34] reports a hole at every opening until the engine answers with its state', async () => {
    await fillAndCrash();
    await flipBit(await newest(/\.log$/), (size) => Math.floor(size / 2));
    const first = await openAndCount();
    const hole = entries.find(({ index }) => !first.kept.has(index))?.index ?? 0;
    await first.store.write({ notes: [{ key: 'n', value: utf8Encode('no answer') }] }, 'os');
    await first.store.close();
    const second = await openAndCount();
    expect(count(second.damage, 'image')).toBe(batches - first.kept.size);
    expect(count(second.damage, 'log-hole')).toBe(batches - first.kept.size);
    await second.store.write({ state: utf8Encode('rehydrate'), cutLogFrom: hole }, 'os');
    await second.store.close();
    const third = await openAndCount();
    expect(third.damage).toEqual([]);
    expect(third.store.log.end().lastIndex).toBe(hole - 1);
    await third.store.close();
  });

  it('[STO-35] tells a lost tail by the marker, exactly as far as the marker knows', async () => {
    await fillAndCrash();
    const log = await newest(/\.log$/);
    const handle = await open(log, 'r+');
    await handle.truncate(Math.floor((await handle.stat()).size * 0.6));
    await handle.close();
    const { kept, damage, store: opened, marker } = await openAndCount();
    expect(kept.size).toBeLessThan(900);
    expect(opened.log.end().lastIndex).toBe(kept.size);
    // The marker was written after batch 900 and one fsync of its own.
    expect(damage).toEqual([
      { kind: 'log-tail', where: `batches ${kept.size + 1}..901`, count: 901 - kept.size },
    ]);
    expect(await marker.read()).toEqual(utf8Encode('published 900'));
    await opened.write({ state: utf8Encode('answered') }, 'disk');
    await opened.close();
    const again = await openAndCount();
    expect(again.damage).toEqual([]);
    await again.store.close();
  });

  it('[STO-36] takes a tail above the marker for what it is: never promised, consistently gone', async () => {
    await fillAndCrash();
    const log = await newest(/\.log$/);
    const handle = await open(log, 'r+');
    await handle.truncate((await handle.stat()).size - 100);
    await handle.close();
    const { kept, rows, damage, store: opened } = await openAndCount();
    expect(kept.size).toBe(batches - 1);
    expect(rows).toBe(batches - 1);
    expect(damage).toEqual([]);
    await opened.close();
  });

  it('[STO-35] tells a tail that was zeroed after a clean close', async () => {
    await fill();
    const size = (await stat(await newest(/\.log$/))).size;
    expect(size).toBeGreaterThan(8_192);
    const handle = await open(await newest(/\.log$/), 'r+');
    await handle.write(new Uint8Array(4_096), 0, 4_096, size - 4_096);
    await handle.close();
    const { kept, damage, store: opened } = await openAndCount();
    expect(kept.size).toBeLessThan(batches);
    // 1,000 batches, one fsync for the marker, one at the close.
    expect(count(damage, 'log-tail')).toBe(1_002 - 1 - kept.size);
    await opened.close();
  });

  it('[STO-35] tells a .log that was deleted', async () => {
    await fill(0);
    await rm(await newest(/\.log$/));
    await expect(openAndCount()).rejects.toMatchObject({ code: 'store-missing' });
    await rm(folder, { recursive: true });
    await (await openReplicaFolder(folder, { hash })).store.close();
    await fill();
    await rm(await newest(/\.log$/));
    const { kept, damage, store: opened } = await openAndCount();
    expect(kept.size).toBe(0);
    expect(count(damage, 'log-tail')).toBeGreaterThanOrEqual(1_001);
    await opened.close();
  });
});

describe('damage that a repair mends', () => {
  const damagedCopies = async (): Promise<readonly string[]> =>
    (await readdir(folder)).filter((name) => name.startsWith('store.damaged-'));

  it('[STO-37] copies the files aside, repairs and reports when the MANIFEST is missing', async () => {
    await fill();
    await rm(await newest(/^MANIFEST/));
    const before = (await snapshotOf(store)).split('\n').filter((line) => !/^LO(CK|G)/.test(line));
    const { kept, rows, damage, store: opened, marker } = await openAndCount();
    expect(kept.size).toBe(batches);
    expect(rows).toBe(batches);
    expect(damage).toEqual([
      { kind: 'image', where: expect.stringContaining('store.damaged-1'), count: 1 },
    ]);
    expect(await marker.read()).toEqual(utf8Encode('published 900'));
    expect(await damagedCopies()).toEqual(['store.damaged-1']);
    const copied = (await snapshotOf(join(folder, 'store.damaged-1'))).split('\n');
    expect(copied).toEqual(expect.arrayContaining(before));
    await opened.close();
    const again = await openAndCount();
    expect(again.damage).toEqual([]);
    await again.store.close();
  });

  it('[STO-37] does so when CURRENT is empty, or names what is not there', async () => {
    for (const content of ['', 'MANIFEST-999999\n']) {
      await rm(folder, { recursive: true, force: true });
      await fill();
      await writeFile(join(store, 'CURRENT'), content);
      const { kept, damage, store: opened } = await openAndCount();
      expect(kept.size).toBe(batches);
      expect(damage).toHaveLength(1);
      await opened.close();
    }
  });

  it('[STO-38] counts what a deleted .ldb took', async () => {
    await fill();
    await (await openReplicaFolder(folder, { hash })).store.close();
    const tables = await namesOf(/\.ldb$/);
    expect(tables.length).toBeGreaterThan(0);
    await rm(join(store, tables[0] as string));
    const { kept, damage, store: opened } = await openAndCount();
    expect(kept.size).toBe(0);
    expect(await damagedCopies()).toEqual(['store.damaged-1']);
    expect(count(damage, 'image') + count(damage, 'log-tail')).toBeGreaterThanOrEqual(batches);
    await opened.close();
  });

  it.each([0, 100, 0.5])('[STO-38] counts what a cut .ldb took (length %s)', async (length) => {
    await fill();
    await (await openReplicaFolder(folder, { hash })).store.close();
    const [table] = await namesOf(/\.ldb$/);
    const path = join(store, table as string);
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, length < 1 ? bytes.length * length : length));
    const { kept, damage, store: opened } = await openAndCount();
    expect(kept.size).toBeLessThan(batches);
    expect(await damagedCopies()).toEqual(['store.damaged-1']);
    const lost = count(damage, 'image') + count(damage, 'log-tail');
    expect(lost).toBeGreaterThanOrEqual(batches - kept.size);
    await opened.close();
  });

  it('[STO-39] never passes a flipped bit of an .ldb off as data', async () => {
    await fill();
    await (await openReplicaFolder(folder, { hash })).store.close();
    const whole = join(root, 'whole');
    await cp(folder, whole, { recursive: true });
    const places = 24;
    const seen = { reported: 0, refused: 0, unchanged: 0, fewer: 0 };
    for (let n = 0; n < places; n += 1) {
      await rm(folder, { recursive: true });
      await cp(whole, folder, { recursive: true });
      const table = await newest(/\.ldb$/);
      await flipBit(table, (size) => Math.floor((size * (n + 0.5)) / places));
      seen[await judge()] += 1;
    }
    // Hiding a key takes a flip in its length or type; whole ranges are compared by fingerprints.
    expect(seen.fewer).toBeLessThanOrEqual(places / 6);
    expect(seen.reported).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
  });

  /** What a store with a flipped bit does; fails the test when altered data came out of it. */
  const judge = async (): Promise<'reported' | 'refused' | 'unchanged' | 'fewer'> => {
    let replica;
    try {
      replica = await openReplicaFolder(folder, { hash });
    } catch (error) {
      expect(error).toMatchObject({ code: 'storage-damaged' });
      return 'refused';
    }
    try {
      const options = { layers: [0], limit: batches };
      const { rows } = await replica.store.scanRows('view', 1, options);
      const altered = rows.filter(
        ({ id: found, value }) => utf8Decode(value) !== `["${Number(found.slice(3))}"]`,
      );
      expect(altered).toEqual([]);
      if (replica.store.damage.length > 0) return 'reported';
      const kept = await replica.store.log.read(1, 10_000_000);
      expect(hash(concatBytes(kept.map(({ bytes }) => bytes)))).toEqual(
        hash(concatBytes(entries.map(({ bytes }) => bytes))),
      );
      return rows.length < batches ? 'fewer' : 'unchanged';
    } catch (error) {
      expect(error).toMatchObject({ code: 'storage-damaged' });
      return 'refused';
    } finally {
      await replica.store.close();
    }
  };

  it('[STO-40] repairs at the next opening what a read had found', async () => {
    await fill();
    await (await openReplicaFolder(folder, { hash })).store.close();
    const whole = join(root, 'whole');
    await cp(folder, whole, { recursive: true });
    const options = { layers: [0], limit: batches };
    let found = false;
    // The view's rows are behind the op log: places are tried from there until a read is refused.
    for (let place = 0.8; place < 0.99 && !found; place += 0.01) {
      await rm(folder, { recursive: true });
      await cp(whole, folder, { recursive: true });
      await flipBit(await newest(/\.ldb$/), (size) => Math.floor(size * place));
      const replica = await openReplicaFolder(folder, { hash }).catch(() => undefined);
      if (replica === undefined) continue;
      const scan = replica.store.scanRows('view', 1, options);
      const error = await scan.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      found = replica.store.damage.length === 0 && error !== undefined;
      if (found) expect(error).toMatchObject({ code: 'storage-damaged' });
      await replica.store.close();
    }
    expect(found).toBe(true);
    const again = await openReplicaFolder(folder, { hash });
    expect(again.store.damage).toContainEqual({
      kind: 'image',
      where: expect.stringContaining('store.damaged-1'),
      count: 1,
    });
    await again.store.close();
  });
});
