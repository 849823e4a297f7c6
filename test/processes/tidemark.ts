import { runCli } from '@tidemark/cli';

process.exitCode = await runCli(process.argv.slice(2));
