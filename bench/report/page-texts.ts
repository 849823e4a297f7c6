/** How the figures came about. */
export const method = `What Tidemark does in a second, beside plain programs that write the same bytes.

\`\`\`sh
npm run bench                                    # every suite at its default size, over a nats-server of its own
npm run bench -- upload-merge --records 1000000  # one suite at another size
npm run bench -- full-sync --data flights        # adds real records
npm run bench -- --check                         # compares ratios with bench/baselines
npm run bench -- --out bench/results/mine.json   # keeps the results with what the machine is
node test/run/performance.mjs                    # writes this page and its plots from bench/results
\`\`\`

- Server, device and nats-server are processes of their own on one machine, over the loopback. Durability is the default: an edit
  resolves when the operating system has it (\`os\`), uploads and windows of the server are fsynced. Nothing is switched off.
- Each case is warmed up until half a second of it has run (at most ten times), unless one run took more than 10 s; of the runs, whose number the settings tell, the median counts. Each
  result is checked outside the timed part: fingerprints of both sides, and what else the case promises. \`verified\` says so.
- The **floor** of a case is a plain program with the same libraries that moves and writes about the same bytes in the same turn:
  no history, no scopes, no conflicts. 100% would be as fast as that program.
- Memory is the greatest of the timed part (Linux counts it anew before). CPU seconds are those of the timed part. What was freed before
  and kept by the allocator counts: a device whose rows were all compared shows some hundred MB from then on, in \`incremental\`,
  \`local-edits\` and \`upload-merge\`. At 100,000 records its heap had 56 MB and its buffers 8 there; with jemalloc in its place 166 MB were shown for 597.
- Records are like those of a CRM: 12 fields, about 300 bytes, deterministic. \`--data flights\` takes flights of the npm package
  \`vega-datasets\`, which is fetched once.
- Names of cases are those of a million records; with fewer, \`moved\` tells how many operations there were.

\`--check\` compares ratios only, never seconds. Where the load average of a case, which its settings tell, is far above the cores, other
programs took most of them: the seconds are then several times those of a quiet machine, small times most of all, and say little beyond
their order of magnitude. CPU seconds and shares of the floor, which ran beside the same programs, suffer less.`;

/** What each suite does. */
export const suiteNotes: Readonly<Record<string, string>> = {
  'full-sync':
    'A device gets a whole table for the first time. The server prepared and packed the table for an earlier device (the run that warms up), ' +
    'and passes the packs on as they lie; nothing is packed for the loopback. ' +
    '`interrupted` kills the process of the device at five random points; each next one goes on, and only time in sync counts. ' +
    '`two indexes` declares two indexes, which are built behind the rows (decision 0016): the sync ends when they are complete.',
  'upload-merge':
    'Edits that were made offline in transactions of 100, from the start of the upload until the receipt of the last one is stored. ' +
    '`uniform-1m` edits as many records as there are, `uniform-100k` a tenth, in random order; `hot-set` a tenth as many operations on ' +
    '1,000 records; in `conflicts-10` somebody else edited the field of each tenth operation meanwhile. Afterwards the histories of random ' +
    'operations are asked for (100 after the last run), and a fresh device downloads everything.',
  incremental:
    'A sync after so many records changed on the server. `after folding`: after 20 syncs without changes, in which the device folds what came before. ' +
    'All rows of both sides are compared before each one, and a sync begins a second behind that; `after folding` was measured without that second.',
  'local-edits':
    'Edits without a network on a device that holds all records. Each run edits the same records again, so that most of what it reads was read ' +
    'before; records that were not take longer. `live query` is the median time until a query over 1,000 records that ' +
    'an application watches shows an edit, from the call of the edit.',
  'cold-start':
    '`server`: a server with so many records and as many merged operations answers. `rebuild`: its store is gone; it comes back from the ' +
    'checkpoint that holds the records and from the input behind it, which holds one operation for each. `device`: a device with pending operations opens.',
  devices:
    'Replicas with the filter `site = k`, a declared scope key, in four processes, one for each thousand records. `upload`: each uploads 100 ' +
    'operations, all at once. `small sync`: one operation each, four at a time. `pull after foreign changes`: median time of a pull after ' +
    'changes of other sites. `server restart`: from the start of the server until every device, live all the time, shows what was written after it. ' +
    'A thousand devices at a million records were measured in `upload` alone: each of the other cases asks all of them several times.',
  text:
    'Two devices type words into one shared text while they are offline, each word an edit of its own. `apply`: until the server has merged both. ' +
    '`converge`: until both devices show the same. The floor is Automerge alone, which applies the same changes in one batch.',
};

/** What costs what, and what can be set. */
export const advice = `## What costs what

- **The store**, not the network and not the codec, takes most of the time: each record that is read or written at a random place costs tens of
  microseconds, one in order a few. First syncs move blocks of rows that nobody decodes; merging reads and writes each record that an operation touches.
- **A first sync** of a whole table is cheap once one device has had it (see decisions [0012](decisions/0012-prepared-tables.md) and [0015](decisions/0015-packs.md)). Filters and
  projections read records one by one.
- **An operation** costs its record on both sides, an entry of the history, one of the feed that devices catch up from, and its own bytes in
  log and input. Many operations on few records cost less than one on each of many.
- **Nothing to do** costs a few questions over the network, whatever the tables hold.
- **Text fields** cost a change of Automerge per edit, and the whole document each time it is opened.

## What is missed, and why

From profiles of these cases (\`--profile\` prints them) and from the CPU seconds above.

- **Uploads**: the server's time is spread thin: decoding rows and operations, deciding, encoding rows, history and feed, collecting garbage. No
  function takes more than a few percent. Longer windows make it worse (16,000 operations: more garbage survives). Rows as bytes, without an
  object for each, would be needed. Of the device's processor time little belongs to the upload itself (3 to 6 µs per operation): the rest
  downloads and stores what the server made of it.
- **Rebuilding** waits for nothing: it is the fold in a process that just began. A quarter of 20,000 operations' time is compiling.
- **Local edits** one by one: about a third of an edit is the hop to LevelDB's thread and back, since a batch cannot be written synchronously.
  Edits that wait for each other share one write. A log file of our own for edits at \`os\` would be needed. Transactions of 100 run at half
  the speed of the floor, which itself stays below the target.
- **Two indexes** double a first sync: three fifths of what they add is reading the rows again for their keys, the rest sorting and storing runs.

- **First sync**: each copy of a page costs more in garbage collection than in copying, for V8 collects whenever some 64 MB of buffers were
  made; bytes of answers and of sealed blocks are used again therefore. Left are LevelDB's compaction on the device (a third of its processor
  time at a million records; a greater write buffer halves it, but then more batches can be lost than are counted), the headers of parts
  (32 per page), and the server's copies of a page.
- **Memory of the server**: about half of it at a million records are table files that LevelDB maps, which the kernel takes back when it needs them.
- **Text**: the document is saved once per envelope, but per edit the server still digests the whole row and compares its text with the one
  before. Both grow with the text; a digest of changes would be another format. The 100,000 edits of the target do not fit: two devices' words
  make 1.3 million characters, and a text holds 1,048,576.

## How to tune

- Edit in transactions (up to 1,000 operations): one write instead of many.
- \`durability: 'disk'\` fsyncs each edit: make it one transaction of many.
- Declare a \`scopeKey\` where devices hold a part of a table: a pull then follows the changes of that part.
- Declare the indexes that queries need and no others: each is written with every edit.
- \`openServer({ prepared })\` bounds how tables are prepared for first syncs; \`horizon\` bounds the feed.
- \`checkpoints.everyOps\` bounds how much input a server folds after it lost its store, and what devices keep.
- Give devices ids that grow with time (the default): sorted keys are cheaper everywhere.
- A second server doubles downloads, not merging: see [size it](guides/size.md).`;
