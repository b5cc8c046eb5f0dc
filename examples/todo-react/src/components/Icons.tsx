import type { ReactNode } from 'react';

/** A picture beside words or on a labelled button: it says nothing itself. */
function icon(children: ReactNode) {
  return function Icon() {
    return (
      <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
        {children}
      </svg>
    );
  };
}

export const Grip = icon(
  <g fill="currentColor" stroke="none">
    {[6, 12, 18].flatMap((y) => [9, 15].map((x) => <circle key={`${x} ${y}`} cx={x} cy={y} r="1.6" />))}
  </g>,
);
export const Pencil = icon(<path d="M4 20l1-4L16 5l3 3L8 19z M14 7l3 3" />);
export const Bin = icon(<path d="M5 7h14 M10 7V5h4v2 M7 7l1 12h8l1-12 M10.5 10.5v5 M13.5 10.5v5" />);
export const Calendar = icon(<path d="M5 6h14v13H5z M5 10h14 M9 4v4 M15 4v4" />);
export const Cross = icon(<path d="M7 7l10 10 M17 7L7 17" />);
export const Cloud = icon(<path d="M7.5 18a4 4 0 0 1-.4-8 5.2 5.2 0 0 1 10-.6A4.3 4.3 0 0 1 17 18z M9 14l2 2 4-4.5" />);
export const CloudOff = icon(<path d="M8 10a4 4 0 0 0-.5 8H16 M10 6.6a5.2 5.2 0 0 1 7.1 2.8 4.3 4.3 0 0 1 2 7.5 M5 5l14 14" />);
export const Arrows = icon(<path d="M5 11a7 7 0 0 1 12.5-3.2L19 10 M19 5v5h-5 M19 13a7 7 0 0 1-12.5 3.2L5 14 M5 19v-5h5" />);
export const Warning = icon(<path d="M12 4l9 16H3z M12 10v4.5 M12 17.4v.1" />);
