// @ts-check
/** What a person is to do about each kind of alert; the same as in models/alerts/guide.py, and a test holds them equal. */

/** @type {Record<string, string>} */
const ACTIONS = {
  below_target: "act on the domain",
  accuracy_gap: "look at new labels; the classifier adapts to them",
  drift: "label some responses of the domain",
  estimate_below_target: "label some responses of the domain; labels prove it or end it",
  served_model: "ask who changed what is served; name its revision in the events",
  traffic_mix: "look at the domains that grew; label some of their responses",
  coverage: "check what the producer sends: log-probabilities are missing or back",
  label_delay: "ask those who label; estimates rest on older labels meanwhile",
  vanished_domain: "check the route or the producer of the domain",
  new_domain: "label some of its responses when it grows",
  wrong_clock: "correct the clock or the unit of the producer",
  new_context: "check that the change was intended",
  returned_context: "nothing; after a rollback of a model it is expected",
  labels_out_of_scale: "configure labels.scale",
  id_conflict: "configure decode.response_id",
  weak_segment: "look at the wrong answers of the slice, then get data or change the prompt for it",
  refused_context: "fix what the producer sends",
  new_topic: "look at some of its prompts; name it by a rule if it is to stay",
  topics_merged: "look for both under the older name",
  topic_split: "look at both",
};

/** Whether an alert is the end of what it is about. @param {{state: string}} alert */
export const isOver = ({ state }) => state === "resolved" || state === "ok";

/** @param {{kind: string, state: string}} alert */
export const action = (alert) => (isOver(alert) ? "nothing" : ACTIONS[alert.kind] ?? "see docs/operating.md");
