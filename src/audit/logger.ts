/** What the audit part says to the operator. Pino's loggers fit. */
export type AuditLogger = {
  readonly info: (facts: object, message: string) => void;
  readonly warn: (facts: object, message: string) => void;
  readonly error: (facts: object, message: string) => void;
};
