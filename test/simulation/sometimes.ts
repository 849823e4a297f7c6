/** Placeholder until the names were seen. */
export const sometimes: readonly string[] = [];
