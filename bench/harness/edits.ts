/** Value of field `stage` after a device's operation `i` of a round; no other operation writes it. */
export const editedStage = (round: number, i: number): string => `edit ${round}.${i}`;

/** Value that somebody else wrote there meanwhile. */
export const foreignStage = (round: number, i: number): string => `other ${round}.${i}`;

/** Operations of each transaction of a device. */
export const opsPerTransaction = 100;
