/** Version that a server or a checkpoint stands at. */
interface Standing {
  readonly incarnation: number;
  readonly n: number;
}

/** Versions that a checkpoint is behind; undefined where it is of another incarnation: these have no distance. */
export const versionsBehind = (now: Standing, checkpoint: Standing): number | undefined =>
  now.incarnation === checkpoint.incarnation ? now.n - checkpoint.n : undefined;

/** How far a checkpoint is behind, in words. */
export const checkpointAge = (now: Standing, checkpoint: Standing): string => {
  const behind = versionsBehind(now, checkpoint);
  return behind === undefined
    ? `of another incarnation than ${now.incarnation}`
    : `${behind} versions behind`;
};
