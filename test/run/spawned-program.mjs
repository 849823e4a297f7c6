// Programs that the package checks start: any Node, npm, npx. Every one has a time limit.
import { spawn } from 'node:child_process';

const windows = process.platform === 'win32';

// What npm tells the scripts that it runs would send an npm below them to the wrong folder.
const inherited = /^npm_(lifecycle|package|command|config_(local|global)?_?prefix)/i;
const environment = (more) => {
  const kept = Object.entries(process.env).filter(([name]) => !inherited.test(name));
  return { ...Object.fromEntries(kept), ...more };
};

/**
 * Runs a program and resolves to its exit code and output; 124 when it took longer than `limitMs`, 127
 * when it could not be started. `shell` is for programs that are scripts on Windows: their arguments
 * must need no quoting.
 */
export const run = (name, args, { cwd, limitMs, env = {}, shell = false }) =>
  new Promise((resolve) => {
    const child = spawn(name, args, {
      cwd,
      shell,
      env: environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let ended = false;
    const keep = (chunk) => {
      output += chunk;
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    const end = (code) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      resolve({ code, output });
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      // What it started may hold the pipes open; nobody waits for that.
      child.stdout.destroy();
      child.stderr.destroy();
      output += `\nended after ${limitMs / 1000} s`;
      end(124);
    }, limitMs);
    child.on('error', (error) => {
      output += String(error);
      end(127);
    });
    child.on('close', (code) => end(code ?? 1));
  });

// What was installed before needs no network, and where there is none that is known within seconds.
const impatient = { prefer_offline: 'true', fetch_retries: '1', fetch_retry_mintimeout: '1000' };
const npmSettings = Object.fromEntries(
  Object.entries(impatient).map(([name, value]) => {
    const variable = `npm_config_${name}`;
    return [variable, process.env[variable] ?? value];
  }),
);

/** Runs npm or npx, which are scripts on Windows. */
export const runNpm = (name, args, { env = {}, ...options }) =>
  run(windows ? `${name}.cmd` : name, args, {
    ...options,
    shell: windows,
    env: { ...npmSettings, ...env },
  });

/** True if npm's output says that no registry could be reached: nothing is wrong with the packages. */
export const isOffline = (output) =>
  /\b(ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNRESET|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ENOTCACHED)\b/.test(
    output,
  );
