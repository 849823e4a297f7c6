import * as t from 'io-ts';
import {
  isLeft,
  TidemarkError,
  valueFromJson,
  type ResolutionAction,
  type Value,
} from '@tidemark/model';
import type { Desk } from './desk.js';
import { customizationFrom } from './customization-from.js';

const AnyValue = new t.Type<Value, Value>(
  'a value',
  (u): u is Value => valueFromJson(u) !== undefined,
  (u, c) => {
    const value = valueFromJson(u);
    return value === undefined ? t.failure(u, c) : t.success(value);
  },
  t.identity,
);

const Put = t.type({
  kind: t.literal('put'),
  table: t.string,
  id: t.string,
  fields: t.record(t.string, AnyValue),
});

const State = t.union([t.literal('open'), t.literal('ignored'), t.literal('resolved')]);

const Choice = t.intersection([
  t.type({
    table: t.string,
    record: t.string,
    field: t.union([t.string, t.null]),
    pick: t.union([t.literal('mine'), t.literal('theirs'), t.literal('value')]),
  }),
  t.partial({ value: AnyValue }),
]);

const Action: t.Type<ResolutionAction, ResolutionAction> = t.union([
  t.literal('retry'),
  t.literal('ignore'),
  t.literal('un-ignore'),
  t.literal('take-server'),
  t.literal('merge'),
  t.literal('split'),
]);

const Shown = t.type({
  table: t.number,
  record: t.string,
  incarnation: t.number,
  n: t.number,
});

const Resolution = t.intersection([
  t.type({ action: Action, user: t.string }),
  t.partial({ choices: t.array(Choice), shown: t.array(Shown) }),
]);

const Nothing = t.type({});
const optional = <T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never;

/** A call that a running server answers: how its parameters are read, and what it does. */
export interface ControlCall {
  readonly answer: (desk: Desk, params: unknown) => Promise<unknown>;
}

const call = <A>(
  codec: t.Decoder<unknown, A>,
  work: (desk: Desk, params: A) => Promise<unknown>,
): ControlCall => ({
  answer: async (desk, params) => {
    const decoded = codec.decode(params);
    if (isLeft(decoded))
      throw new TidemarkError('malformed-message', 'the call has other parameters');
    return (await work(desk, decoded.right)) ?? null;
  },
});

/** Everything that commands may ask of a running server. */
export const controlCalls: Readonly<Record<string, ControlCall>> = {
  customization: call(Nothing, (desk) => desk.customization()),
  publish: call(t.type({ customization: t.unknown, user: t.string }), (desk, params) =>
    desk.publish(customizationFrom(params.customization), params.user),
  ),
  write: call(t.type({ operations: t.array(Put), user: t.string }), (desk, params) =>
    desk.write(params.operations, params.user),
  ),
  records: call(
    t.intersection([
      t.type({ table: t.string, limit: t.number }),
      t.partial({ filter: t.string, after: t.string }),
    ]),
    (desk, { table, limit, filter, after }) =>
      desk.records(table, { limit, ...optional({ filter, after }) }),
  ),
  errors: call(t.partial({ state: State, after: t.string, limit: t.number }), (desk, params) =>
    desk.errors(optional(params)),
  ),
  error: call(t.type({ id: t.string }), (desk, { id }) => desk.error(id)),
  resolve: call(t.type({ id: t.string, input: Resolution }), (desk, { id, input }) => {
    const { action, user, choices, shown } = input;
    const picked = choices?.map(({ value, ...choice }) => ({ ...choice, ...optional({ value }) }));
    return desk.resolve(id, {
      action,
      user,
      ...(picked === undefined ? {} : { choices: picked }),
      ...(shown === undefined ? {} : { shown }),
    });
  }),
  explain: call(
    t.intersection([
      t.type({ table: t.string, id: t.string }),
      t.partial({ field: t.string, limit: t.number }),
    ]),
    (desk, { table, id, field, limit }) => desk.explain(table, id, field, limit),
  ),
  syncLogs: call(t.type({ limit: t.number }), (desk, { limit }) => desk.syncLogs(limit)),
  status: call(Nothing, (desk) => desk.status()),
  identities: call(t.partial({ after: t.string }), (desk, { after }) => desk.identities(after)),
  census: call(Nothing, (desk) => desk.census()),
  requireIdentities: call(t.type({ by: t.string }), (desk, { by }) => desk.requireIdentities(by)),
  createToken: call(
    t.intersection([
      t.type({ user: t.string, device: t.string, by: t.string }),
      t.partial({ ttlMs: t.number }),
    ]),
    (desk, { user, device, by, ttlMs }) =>
      desk.createToken({ user, device, by, ...optional({ ttlMs }) }),
  ),
  revoke: call(
    t.type({
      of: t.union([t.literal('replica'), t.literal('device')]),
      id: t.string,
      by: t.string,
    }),
    (desk, wanted) => desk.revoke(wanted),
  ),
  moment: call(Nothing, (desk) => desk.moment()),
  checkpoint: call(Nothing, (desk) => desk.checkpoint()),
};
