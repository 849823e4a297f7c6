/** Kind of a setting: paths of a file are relative to the file, secrets are never shown. */
export type SettingKind =
  'text' | 'path' | 'list' | 'count' | 'switch' | 'secret' | 'choice' | 'tenants';

/** A setting with its name in `tidemark.config.*`, its variable and its flag. */
export interface Setting {
  readonly name: string;
  readonly kind: SettingKind;
  readonly variable: string;
  /** Undefined: no flag, as for secrets, which other users of the machine would see. */
  readonly flag?: string;
  readonly fallback?: string;
  /** Words that a `choice` takes. */
  readonly choices?: readonly string[];
  readonly meaning: string;
}
