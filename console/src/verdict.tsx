import { Badge, type Tone } from "./ui";

const tones: { [verdict: string]: Tone } = {
  "breaker tripped": "harm", "rolled back": "harm", halted: "amber", "growth frozen": "amber", held: "amber", paused: "amber", proposed: "amber", "outcome counted": "harm",
  "ring opened": "busy", started: "busy", resumed: "busy", "growth released": "good", completed: "good", approved: "good", "hold lifted": "good",
};

/** VerdictBadge is what was decided. */
export const VerdictBadge = ({ verdict }: { verdict: string }) => <Badge tone={tones[verdict] ?? "idle"}>{verdict}</Badge>;
