// What people do to messages: edit them, react to them, answer them.

import assert from "node:assert/strict";
import { EventStatus } from "matrix-js-sdk";
import { bodies, meet, ofType, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const roomId = await meet([alice, bob]);
  const edit = (of, body) => ({
    msgtype: "m.text",
    body: `* ${body}`,
    "m.new_content": { msgtype: "m.text", body },
    "m.relates_to": { rel_type: "m.replace", event_id: of.getId() },
  });

  const [his, hers] = await sends(alice, roomId, "it rains", bob, alice);
  const [first] = await sends(alice, roomId, edit(hers, "it pours"), bob);
  for (const [client, event] of [[bob, his], [alice, hers]]) {
    await until(client, () => event.replacingEventId() === first.getId());
    assert.equal(event.getContent().body, "it pours");
    assert.equal(event.getOriginalContent().body, "it rains");
  }
  const [second] = await sends(alice, roomId, edit(hers, "it hails"), bob);
  await until(bob, () => his.getContent().body === "it hails");
  chapter("an edit replaces what is shown, and a later edit that");

  await sends(bob, roomId, edit(his, "the sun shines"), alice);
  await sends(alice, roomId, "so much for the weather", bob);
  assert.equal(his.getContent().body, "it hails");
  assert.equal(hers.getContent().body, "it hails");
  chapter("nobody edits what another has said");

  const phone = await another(bob, { initialSyncLimit: 1 });
  const onPhone = phone.getRoom(roomId);
  assert.deepEqual(bodies(onPhone), ["so much for the weather"]);
  while (!onPhone.findEventById(hers.getId())) await phone.scrollback(onPhone, 1);
  assert.equal(onPhone.findEventById(hers.getId()).replacingEventId(), second.getId());
  assert.equal(onPhone.findEventById(hers.getId()).getContent().body, "it hails");
  chapter("who scrolls back to an edited message sees it edited");

  await alice.redactEvent(roomId, second.getId());
  await until(bob, () => his.getContent().body === "it pours");
  chapter("without its last edit a message is as before it");

  const annotation = (key) => ({ "m.relates_to": { rel_type: "m.annotation", event_id: hers.getId(), key } });
  const reactions = (client) => {
    const { relations } = client.getRoom(roomId);
    const all = relations.getChildEventsForEvent(hers.getId(), "m.annotation", "m.reaction")?.getSortedAnnotationsByKey() ?? [];
    return all.filter(([, events]) => events.size).map(([key, events]) => `${key} ${events.size}`).join();
  };
  const { event_id: umbrella } = await bob.sendEvent(roomId, "m.reaction", annotation("☂️"));
  await until(alice, () => reactions(alice) === "☂️ 1");
  await alice.sendEvent(roomId, "m.reaction", annotation("☂️"));
  await bob.sendEvent(roomId, "m.reaction", annotation("🌈"));
  for (const client of [alice, bob]) await until(client, () => reactions(client) === "☂️ 2,🌈 1");
  await assert.rejects(bob.sendEvent(roomId, "m.reaction", annotation("🌈")), { errcode: "M_DUPLICATE_ANNOTATION" });
  bob.cancelPendingEvent(ofType(bob.getRoom(roomId), "m.reaction").find((event) => event.status === EventStatus.NOT_SENT));
  chapter("reactions are counted by their key, and nobody reacts twice alike");

  await bob.redactEvent(roomId, umbrella);
  for (const client of [alice, bob]) await until(client, () => reactions(client) === "☂️ 1,🌈 1");
  const { events } = await bob.relations(roomId, hers.getId(), "m.annotation", "m.reaction");
  assert.deepEqual(events.map((event) => event.getRelation().key).sort(), ["☂️", "🌈"].sort());
  chapter("a reaction is taken back");

  const reply = { msgtype: "m.text", body: "I am wet", "m.mentions": { user_ids: [alice.getUserId()] }, "m.relates_to": { "m.in_reply_to": { event_id: hers.getId() } } };
  const [answer] = await sends(bob, roomId, reply, alice);
  assert.equal(answer.replyEventId, hers.getId());
  assert.equal(answer.threadRootId, undefined);
  assert.equal(alice.getPushActionsForEvent(answer).tweaks.highlight, true);
  chapter("a reply knows what it answers, and rings");
}
