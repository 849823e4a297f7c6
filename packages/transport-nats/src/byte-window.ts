/** Lets work in while the bytes in flight stay below a bound; the rest waits in order. */
export class ByteWindow {
  readonly #bytesMax: number;
  readonly #waiting: { readonly bytes: number; readonly enter: () => void }[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes in flight now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Runs work when there is room for its bytes; a single one always has room. */
  async run<A>(bytes: number, work: () => Promise<A>): Promise<A> {
    if (this.#waiting.length > 0 || !this.#hasRoom(bytes))
      await new Promise<void>((enter) => this.#waiting.push({ bytes, enter }));
    else this.#bytes += bytes;
    try {
      return await work();
    } finally {
      this.#bytes -= bytes;
      this.#letIn();
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax;
  }

  #letIn(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#hasRoom(next.bytes)) return;
      this.#waiting.shift();
      this.#bytes += next.bytes;
      next.enter();
    }
  }
}
