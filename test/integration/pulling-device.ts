import { createHash } from 'node:crypto';
import { unpackNow } from '@tidemark/crypto-node';
import type { Scope } from '@tidemark/filter';
import { decodeRow, isLeft, rowsOfBlock, type Row } from '@tidemark/model';
import type { Link } from '@tidemark/ports';
import {
  decodeMessage,
  decodePages,
  encodeMessage,
  fingerprintOf,
  scopeHashOf,
  startContentFingerprint,
  type CompareAnswer,
  type MessageName,
  type Messages,
  type PackedTail,
  type PullAnswer,
  type TablePage,
} from '@tidemark/protocol';
import { compareTexts } from '@tidemark/filter';

export const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

const open = <N extends MessageName>(
  name: N,
  bytes: Uint8Array,
): { readonly message: Messages[N]; readonly pages: readonly TablePage[] } => {
  const decoded = decodeMessage(name, bytes);
  if (isLeft(decoded)) throw decoded.left;
  const { packed } = decoded.right.message as { readonly packed?: PackedTail };
  const { tail } = decoded.right;
  const unpacked = packed === undefined ? tail : unpackNow(packed.codec, tail, packed.bytes);
  const pages = decodePages(unpacked ?? new Uint8Array(1), sha256);
  if (isLeft(pages)) throw new Error(pages.left);
  return { message: decoded.right.message, pages: pages.right };
};

/** Naive device: applies pages to a map at once, without staging. It may see half a pull; tests look at the end. */
export class PullingDevice {
  readonly #link: Link;
  readonly scope: Scope;
  readonly maxBytes: number;
  /** Set for a device that reads blocks. */
  blocks: boolean;
  /** Codecs in which it takes what is packed already. */
  ready: readonly string[] = [];
  /** Answers that came packed. */
  packed = 0;
  cursor: string | null = null;
  seen = { incarnation: 0, n: 0 };
  readonly tables = new Map<number, Map<string, Row>>();
  readonly ids = new Set<string>();
  pages = 0;
  entries = { upsert: 0, touch: 0, evict: 0 };
  rowsInBlocks = 0;
  /** Ids that were touched or evicted though the device never had them. */
  readonly strangers: string[] = [];

  constructor(link: Link, scope: Scope, maxBytes = 200_000, blocks = false) {
    this.#link = link;
    this.scope = scope;
    this.maxBytes = maxBytes;
    this.blocks = blocks;
  }

  async page(tables: readonly string[] | null = null): Promise<PullAnswer> {
    const { cursor, scope, seen, maxBytes } = this;
    const asked = { cursor, tables, scope, seen, maxBytes };
    const { ready } = this;
    const inBlocks = { ...asked, blocks: true, ...(ready.length === 0 ? {} : { ready }) } as const;
    const body = encodeMessage('PullRequest', this.blocks ? inBlocks : asked);
    const { message, pages } = open('PullAnswer', await this.#link.request('pull', body));
    if (message.packed !== undefined) this.packed += 1;
    if (message.rehydrate !== null) return message;
    this.pages += 1;
    for (const page of pages) this.apply(page);
    this.cursor = message.cursor;
    if (message.closing) this.seen = { incarnation: message.incarnation, n: message.to };
    return message;
  }

  apply({ table, entries, blocks }: TablePage): void {
    let rows = this.tables.get(table);
    if (rows === undefined) this.tables.set(table, (rows = new Map()));
    for (const { bytes } of blocks)
      for (const { id, value } of rowsOfBlock(bytes)) {
        this.rowsInBlocks += 1;
        rows.set(id, decodeRow(value));
      }
    for (const entry of entries) {
      this.entries[entry.kind] += 1;
      if (entry.kind === 'upsert') rows.set(entry.id, decodeRow(entry.row));
      else if (entry.kind === 'evict') {
        if (!rows.delete(entry.id)) this.strangers.push(entry.id);
      } else {
        const row = rows.get(entry.id);
        if (row === undefined) this.strangers.push(entry.id);
        else rows.set(entry.id, { ...row, version: entry.version });
      }
    }
  }

  /** Pulls to the closing page; `between` runs after each page that is not the last. */
  async pull(between?: (page: number) => Promise<void>, pagesMax = 5_000): Promise<PullAnswer> {
    for (let page = 1; page <= pagesMax; page += 1) {
      const answer = await this.page();
      if (answer.closing || answer.rehydrate !== null) return answer;
      await between?.(page);
    }
    throw new Error(`the pull did not end in ${pagesMax} pages`);
  }

  sorted(table: number): readonly (readonly [string, Row])[] {
    return [...(this.tables.get(table) ?? [])].sort(([a], [b]) => compareTexts(a, b));
  }

  fingerprint(table: number): string {
    const print = startContentFingerprint(sha256);
    for (const [id, { fields }] of this.sorted(table)) print.add({ id, fields });
    return print.digest();
  }

  async #compare(
    table: string,
    rest: Pick<Messages['CompareRequest'], 'ranges' | 'held' | 'cursor'>,
  ): Promise<{ readonly message: CompareAnswer; readonly pages: readonly TablePage[] }> {
    const { scope, seen, maxBytes } = this;
    const body = encodeMessage('CompareRequest', { table, scope, seen, maxBytes, ...rest });
    return open('CompareAnswer', await this.#link.request('compare', body));
  }

  /** Repairs all tables by ranges of at most `width` ids; resolves with the rows that came. */
  async repair(
    tables: readonly (readonly [name: string, id: number])[],
    width = 4,
  ): Promise<number> {
    let cursor: string | null = null;
    const before = this.entries.upsert;
    this.seen = { incarnation: 0, n: 0 };
    for (const [name, id] of tables) {
      const rows = this.sorted(id);
      const ranges: {
        after: string | null;
        upTo: string | null;
        held: readonly (readonly [string, Row])[];
      }[] = [];
      for (let at = 0; at <= rows.length; at += width) {
        const held = rows.slice(at, at + width);
        const isLast = at + width > rows.length;
        ranges.push({
          after: at === 0 ? null : (rows[at - 1]?.[0] ?? null),
          upTo: isLast ? null : (held[held.length - 1]?.[0] ?? null),
          held,
        });
        if (isLast) break;
      }
      const hash = scopeHashOf(this.scope, sha256);
      for (let at = 0; at < ranges.length; at += 200) {
        const some = ranges.slice(at, at + 200);
        const { message } = await this.#compare(name, {
          cursor,
          held: null,
          ranges: some.map(({ after, upTo, held }) => ({
            after,
            upTo,
            count: held.length,
            fingerprint: fingerprintOf(
              hash,
              held.map(([heldId, { version }]) => ({ id: heldId, version })),
              sha256,
            ),
          })),
        });
        cursor = message.cursor;
        for (const [i, equal] of message.equal.entries()) {
          if (equal) continue;
          let { after } = some[i] as (typeof some)[number];
          const { upTo, held } = some[i] as (typeof some)[number];
          for (;;) {
            const from = after;
            const left = held.filter(([heldId]) => from === null || compareTexts(heldId, from) > 0);
            const { message: answer, pages } = await this.#compare(name, {
              cursor,
              ranges: [],
              held: {
                after,
                upTo,
                rows: left.map(([heldId, { version }]) => [heldId, version.incarnation, version.n]),
              },
            });
            for (const page of pages) this.apply(page);
            if (answer.next === null) break;
            after = answer.next;
          }
        }
      }
    }
    this.cursor = cursor;
    return this.entries.upsert - before;
  }
}
