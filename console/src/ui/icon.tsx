// Shapes differ, so that nothing is said by colour alone.
const shapes = {
  good: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm-1 10L3.8 7.8l1.3-1.3L7 8.4l4-4 1.3 1.3Z",
  busy: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 12V3a5 5 0 0 1 0 10Z",
  amber: "M8 1 15.5 14.5H.5ZM7.2 6v4.2h1.6V6Zm0 5.2v1.6h1.6v-1.6Z",
  harm: "M5 1h6l4 4v6l-4 4H5l-4-4V5Zm.7 3.5L4.5 5.7 6.8 8l-2.3 2.3 1.2 1.2L8 9.2l2.3 2.3 1.2-1.2L9.2 8l2.3-2.3-1.2-1.2L8 6.8Z",
  stopped: "M5 1h6l4 4v6l-4 4H5l-4-4V5Zm0 4v6h6V5Z",
  paused: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1ZM5.3 4.8h1.9v6.4H5.3Zm3.5 0h1.9v6.4H8.8Z",
  idle: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 2a5 5 0 1 1 0 10A5 5 0 0 1 8 3Z",
  asked: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm-.9 3h1.8v3.6l2.5 2.5-1.2 1.2-3.1-3.1Z",
  search: "M6.5 1a5.5 5.5 0 1 0 3.3 9.9l4 4 1.4-1.4-4-4A5.5 5.5 0 0 0 6.5 1Zm0 2a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7Z",
  copy: "M5 1h9v10h-2V3H5Zm-3 4h8v10H2Z",
  sun: "M8 4.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7ZM7.2 0h1.6v2.8H7.2Zm0 13.2h1.6V16H7.2ZM0 7.2h2.8v1.6H0Zm13.2 0H16v1.6h-2.8Z",
  moon: "M6.5 1.2A7 7 0 1 0 14.8 9.5 6 6 0 0 1 6.5 1.2Z",
  close: "m3.3 2-1.3 1.3L6.7 8 2 12.7 3.3 14 8 9.3l4.7 4.7 1.3-1.3L9.3 8 14 3.3 12.7 2 8 6.7Z",
} satisfies Record<string, string>;

export type Shape = keyof typeof shapes;

/** Icon is a shape of the size of the text. It says nothing to a screen reader: a word stands beside it. */
export function Icon({ shape, class: more }: { shape: Shape; class?: string }) {
  return <svg class={more ? `icon ${more}` : "icon"} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path d={shapes[shape]} /></svg>;
}

/** Mark is the sign of the house: fire on the left, green on the right, and the break between them. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 34 20" width="34" height="20" aria-hidden="true" focusable="false">
      <path class="mark-fire" d="M1 18.5 5 6l4 12.5zM8.5 18.5 11.3 11l2.8 7.5z" />
      <path class="mark-line" d="M17.5 1v18" />
      <path class="mark-wood" d="m20.5 18.5 3-9 3 9zm5.5 0L29.6 5l3.6 13.5z" />
    </svg>
  );
}
