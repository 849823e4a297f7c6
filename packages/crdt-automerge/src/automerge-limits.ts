import { textLengthMax } from '@tidemark/model';

/** AutomergeLimits bound what documents and changes may cost. Servers of a tenant must agree on them. */
export interface AutomergeLimits {
  /** Bytes of the changes of one run (one operation) after inflating. */
  readonly runBytesMax: number;
  /** Operations that the changes of one run may claim: about one per character. */
  readonly runOperationsMax: number;
  /** Operations of a whole document, deleted characters included: about 360 bytes of memory each. */
  readonly documentOperationsMax: number;
  /**
   * Work of the plain changes behind a saved document: characters that steps look for times operations of
   * the document. Beyond it Automerge applies them and the document is saved anew.
   */
  readonly plainWorkMax: number;
  /** Documents kept loaded between calls. */
  readonly loadedDocumentsMax: number;
  /** Operations of all documents kept loaded, which stands for their memory. */
  readonly loadedOperationsMax: number;
}

/** Limits unless the caller gives others: one run may write one text of the greatest length. */
export const defaultAutomergeLimits: AutomergeLimits = {
  runBytesMax: 16 * 1024 * 1024,
  runOperationsMax: textLengthMax + 1,
  documentOperationsMax: 2 * textLengthMax,
  plainWorkMax: 2 ** 30,
  loadedDocumentsMax: 32,
  loadedOperationsMax: 1024 * 1024,
};
