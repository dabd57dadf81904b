// What has rung lately.

import assert from "node:assert/strict";
import { EventTimelineSet } from "matrix-js-sdk";
import { bodies, meet, sends, soon } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const roomId = await meet([alice, bob]);
  const mention = (i) => ({ msgtype: "m.text", body: `Bob, look ${i}`, "m.mentions": { user_ids: [bob.getUserId()] } });
  await sends(alice, roomId, "nothing to see", bob);
  for (let i = 1; i <= 12; i++) await sends(alice, roomId, mention(i), bob);

  const list = (params) => bob.http.authedRequest("GET", "/notifications", params);
  const { notifications } = await soon(() => list({ limit: 20 }), (answer) => answer.notifications.length === 14);
  const expected = [...Array.from({ length: 12 }, (_, i) => `Bob, look ${12 - i}`), "nothing to see"];
  assert.deepEqual(notifications.slice(0, 13).map(({ event }) => event.content.body), expected);
  assert.equal(notifications.at(-1).event.content.membership, "invite");
  assert.ok(notifications.every(({ read, room_id: room }) => read === false && room === roomId));
  chapter("what has rung is listed, the latest first");

  bob.setNotifTimelineSet(new EventTimelineSet(undefined, { timelineSupport: true }));
  bob.resetNotifTimelineSet();
  const timeline = bob.getNotifTimelineSet().getLiveTimeline();
  while (await bob.paginateEventTimeline(timeline, { backwards: true, limit: 5 }));
  assert.deepEqual(bodies(bob.getNotifTimelineSet()), Array.from({ length: 12 }, (_, i) => `Bob, look ${i + 1}`));
  chapter("an app reads its mentions page by page");

  const room = bob.getRoom(roomId);
  await bob.sendReadReceipt(room.getLiveTimeline().getEvents().at(-1));
  await soon(() => list({ limit: 20 }), (answer) => answer.notifications.every(({ read }) => read));
  chapter("what is read is marked so");
}
