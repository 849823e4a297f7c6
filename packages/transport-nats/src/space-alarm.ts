/** Shares of the space of a stream, in percent, at which alarms are raised. */
export const spaceAlarmPercents = [70, 90] as const;
/** Space must fall this much below a share before its alarm ends, in percent: no flicker. */
const alarmSlackPercent = 5;

/** Space that the input takes. `alarm` 0: below all shares that raise one. */
export interface InputSpace {
  readonly bytes: number;
  readonly bytesMax: number;
  readonly alarm: 0 | 70 | 90;
}

/** Tells when the space of the input crosses a share that raises or ends an alarm. */
export class SpaceAlarm {
  readonly #onChange: (space: InputSpace) => void;
  #space: InputSpace = { bytes: 0, bytesMax: -1, alarm: 0 };

  constructor(onChange: (space: InputSpace) => void) {
    this.#onChange = onChange;
  }

  get space(): InputSpace {
    return this.#space;
  }

  /** Takes note of the space as it is now; a negative `bytesMax` means that there is no limit. */
  note(bytes: number, bytesMax: number): void {
    const percent = bytesMax > 0 ? (100 * bytes) / bytesMax : 0;
    const before = this.#space.alarm;
    let alarm: InputSpace['alarm'] = 0;
    for (const share of spaceAlarmPercents)
      if (percent >= (before >= share ? share - alarmSlackPercent : share)) alarm = share;
    this.#space = { bytes, bytesMax, alarm };
    if (alarm !== before) this.#onChange(this.#space);
  }
}
