import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A step of a guide, as its fences tell it. */
export type GuideStep =
  | { readonly kind: 'file'; readonly name: string; readonly text: string }
  /** A command that ends, with the exit codes that the guide names; 0 when it names none. */
  | { readonly kind: 'command'; readonly line: string; readonly codes: readonly number[] }
  | { readonly kind: 'serve'; readonly line: string }
  | { readonly kind: 'stop' };

const fence = /^```(\w+) ?([^\n]*)\n([\s\S]*?)^```$/gm;

const commandOf = (line: string): GuideStep => {
  const [command = '', said = ''] = line.split(' # ');
  const code = Number(/ends? with (\d+)/.exec(said)?.[1] ?? 0);
  return {
    kind: 'command',
    line: command.trim(),
    codes: said.startsWith('may') ? [0, code] : [code],
  };
};

/** Steps of a page of docs/guides, in order. Fences of `text`, and of `json` without a name, are no steps. */
export const guideSteps = (page: string): readonly GuideStep[] => {
  const file = fileURLToPath(new URL(`../../docs/guides/${page}`, import.meta.url));
  const steps: GuideStep[] = [];
  for (const [, language = '', info = '', body = ''] of readFileSync(file, 'utf8').matchAll(
    fence,
  )) {
    const lines = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    if (language === 'sh' && info === 'server') steps.push({ kind: 'serve', line: lines[0] ?? '' });
    else if (language === 'sh' && info === 'stop') steps.push({ kind: 'stop' });
    else if (language === 'sh') steps.push(...lines.map(commandOf));
    else if (info !== '') steps.push({ kind: 'file', name: info, text: body });
  }
  return steps;
};
