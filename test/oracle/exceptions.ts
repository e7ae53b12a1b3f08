/** Node types that no statement contains, each with its reason. */
export const NOT_REACHED: Readonly<Record<string, string>> = {};
/** Command tags that the server never gives here, each with its reason. */
export const NOT_COMPLETED: Readonly<Record<string, string>> = {};
