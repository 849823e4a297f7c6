import { utf8Length } from '@tidemark/model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  askOf,
  askSubject,
  endSubject,
  entrySubject,
  mayAnswerOn,
  opsSubject,
  storedKind,
  streamGeneration,
  streamName,
  tenantToken,
  tenantTokenBytesMax,
} from './subjects.js';

const tenants = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 13 })
  .filter((text) => utf8Length(text) <= 50);
const generations = fc.integer({ min: 1, max: 2 ** 32 - 1 });
const replicas = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);

describe('subjects', () => {
  it('[NAT-10] a tenant is one token whatever its name, and no two share one', () => {
    fc.assert(
      fc.property(tenants, tenants, (a, b) => {
        const [one, other] = [tenantToken(a), tenantToken(b)];
        expect(one).toMatch(/^[a-z0-9_-]+$/);
        expect(one === other).toBe(a === b);
      }),
    );
    expect(tenantToken('acme')).toBe('acme');
    for (const name of ['Acme', 'a.b', 'a*', '>', 'a b', 'a\r\nb', 'a_5f', 'ž'])
      expect(tenantToken(name)).not.toBe(name);
    for (const bad of ['', '\ud800']) expect(() => tenantToken(bad)).toThrow('invalid-id');
    expect(() => tenantToken('A'.repeat(tenantTokenBytesMax))).toThrow('invalid-id');
  });

  it('[NAT-11] the subject of a stored message tells what it is; others are nothing', () => {
    fc.assert(
      fc.property(tenants, generations, replicas, (tenant, generation, replica) => {
        const token = tenantToken(tenant);
        const kind = (subject: string) => storedKind(token, subject);
        expect(kind(opsSubject(token, generation, 'd1', replica))).toEqual({
          kind: 'envelope',
          device: 'd1',
          replica,
        });
        expect(kind(entrySubject(token, generation))).toEqual({ kind: 'entry' });
        expect(kind(endSubject(token, generation))).toEqual({ kind: 'end' });
        expect(streamGeneration(token, streamName(token, generation))).toBe(generation);
        expect(streamGeneration(`${token}x`, streamName(token, generation))).toBeUndefined();
      }),
    );
    for (const subject of [
      'tm.t.in.1.other',
      'tm.t.ops.1.d.r.more',
      'tm.t.ops.1.r',
      'tm.t.in.1.entry.more',
      'tm.u.in.1.entry',
      'x',
      '',
    ])
      expect(storedKind('t', subject)).toBeUndefined();
  });

  it('[NAT-12] the subject of a call names an endpoint and a replica, or nothing', () => {
    fc.assert(
      fc.property(replicas, (replica) => {
        const subject = askSubject('t', 'pull', 'd1', replica);
        expect(askOf(subject)).toEqual({ ask: 'pull', device: 'd1', replica });
        const ofOne = askSubject('t', 'pull', 'd1', replica, 'ab12');
        expect(ofOne).not.toBe(subject);
        expect(askOf(ofOne)).toEqual({ ask: 'pull', device: 'd1', replica });
        expect(askOf(`${subject}.more`)).toBeUndefined();
      }),
    );
    for (const subject of [
      'tm.t.ask.other.d.r',
      'tm.t.ask.pull',
      'tm.t.ask.pull.r',
      'tm.t.ask.pull.d.a b',
      'tm.t.ask.other~ab.d.r',
      'tm.t.ask.pull~.d.r',
      'tm.t.ask.pull~*.d.r',
      '',
    ])
      expect(askOf(subject)).toBeUndefined();
  });

  it('[NAT-13] a server answers on inboxes only, and on those of a device when it is one', () => {
    for (const reply of ['_INBOX.d1.x', '_INBOX.d1.x.y'])
      expect(mayAnswerOn(reply, 'd1')).toBe(true);
    for (const reply of ['_INBOX.d1', '_INBOX.d10.x', '_INBOX.d2.x', 'tm.t.in.1.entry', ''])
      expect(mayAnswerOn(reply, 'd1')).toBe(false);
    for (const reply of ['_INBOX.x', 'own.prefix.x']) expect(mayAnswerOn(reply, '-')).toBe(true);
    for (const reply of ['tm.t.in.1.entry', 'tm.u.ops.1.d.r', '$JS.API.INFO', '$SYS.x', ''])
      expect(mayAnswerOn(reply, '-')).toBe(false);
  });
});
