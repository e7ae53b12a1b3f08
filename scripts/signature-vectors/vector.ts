/** A signature and whether it is good; all in hex. */
export type Vector = {
  readonly name: string;
  readonly valid: boolean;
  readonly key: string;
  readonly message: string;
  readonly signature: string;
  /** Given where OpenSSL takes what we refuse: why we do. */
  readonly stricter?: string;
};
