// Finding what was said.

import assert from "node:assert/strict";
import { meet, sends, soon } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob, stranger] = await Promise.all([arrive("Alice"), arrive("Bob"), arrive("Stranger")]);
  const [roomId, other] = [await meet([alice, bob]), await meet([alice, bob])];
  for (const body of ["It rained in Göteborg", "no word of it", "the rain has ended"]) await sends(alice, roomId, body, bob);
  const [slip] = await sends(alice, other, "rain elsewhere", alice, bob);
  const search = (client, term, filter) => client.searchRoomEvents({ term, filter });
  const found = ({ results }) => results.map((result) => result.context.getEvent().getContent().body);

  const both = await soon(() => search(bob, "rain"), ({ count }) => count >= 2);
  assert.deepEqual(found(both), ["rain elsewhere", "the rain has ended"]);
  assert.deepEqual(both.highlights, ["rain"]);
  assert.deepEqual(found(await search(bob, "göteborg")), ["It rained in Göteborg"]);
  assert.deepEqual(found(await search(bob, "rain", { rooms: [roomId] })), ["the rain has ended"]);
  assert.deepEqual(found(await search(bob, "hail")), []);
  chapter("words are found in the rooms one is in, the latest first");

  const [hit] = (await search(bob, "word")).results;
  assert.deepEqual(
    hit.context.getTimeline().map((event) => event.getContent().body),
    ["It rained in Göteborg", "no word of it", "the rain has ended"],
  );
  assert.equal(hit.context.getEvent().sender.name, "Alice");
  chapter("with what was said around them");

  assert.deepEqual(found(await search(stranger, "rain")), []);
  await assert.rejects(search(stranger, "rain", { rooms: [roomId] }).then(({ results }) => assert.equal(results.length, 1)));
  chapter("and not by strangers");

  await alice.redactEvent(other, slip.getId());
  await soon(() => search(bob, "elsewhere"), ({ count }) => count === 0);
  chapter("what is redacted is not found");

  for (let i = 1; i <= 25; i++) await alice.sendTextMessage(roomId, `puddle ${i}`);
  let all = await soon(() => search(bob, "puddle"), ({ count }) => count === 25);
  while (all.next_batch) all = await bob.backPaginateRoomEventsSearch(all);
  assert.deepEqual(found(all), Array.from({ length: 25 }, (_, i) => `puddle ${25 - i}`));
  chapter("page by page");
}
