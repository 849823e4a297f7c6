const msPerDay = 86_400_000;

/** Milliseconds since 1970 of a canonical datetime, by the proleptic Gregorian calendar. No clock is read. */
export const epochMsOfDatetime = (text: string): number => {
  const part = (from: number, to: number): number => Number(text.slice(from, to));
  const month = part(5, 7);
  // Years begin in March here, so that the leap day is the last day of a year.
  const year = part(0, 4) - (month <= 2 ? 1 : 0);
  const era = Math.floor(year / 400);
  const yearOfEra = year - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + part(8, 10) - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  const days = era * 146_097 + dayOfEra - 719_468;
  return (
    days * msPerDay +
    part(11, 13) * 3_600_000 +
    part(14, 16) * 60_000 +
    part(17, 19) * 1_000 +
    part(20, 23)
  );
};
