/** Thrown by a step that finds the law broken. */
export class LawBroken extends Error {
  override name = 'LawBroken';
}
