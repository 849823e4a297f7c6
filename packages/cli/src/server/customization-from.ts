import { decodeCustomization, isLeft, problemsError, type Customization } from '@tidemark/model';

/** Takes a customization from JSON. Throws `invalid-customization` with every problem. */
export const customizationFrom = (json: unknown): Customization => {
  const decoded = decodeCustomization(json);
  if (isLeft(decoded)) throw problemsError('invalid-customization', decoded.left);
  return decoded.right;
};
