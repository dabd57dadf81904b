// What the users of client.mjs can do beside the first steps. Each act gets the
// user's client and the arguments of the test. Those of a group that come last
// tell what the SDK holds.

import { EventType } from "matrix-js-sdk";

const text = (body) => ({ msgtype: "m.text", body });

const talking = {
  edit: (client, { room, event, body }) =>
    client.sendMessage(room, { ...text(`* ${body}`), "m.new_content": text(body), "m.relates_to": { rel_type: "m.replace", event_id: event } }),
  react: (client, { room, event, key }) => client.sendEvent(room, EventType.Reaction, { "m.relates_to": { rel_type: "m.annotation", event_id: event, key } }),
  reply: (client, { room, event, body }) => client.sendMessage(room, { ...text(body), "m.relates_to": { "m.in_reply_to": { event_id: event } } }),
  answer(client, { room: id, event, body }) {
    const room = client.getRoom(id);
    if (!room.getThread(event)) room.createThread(event, room.findEventById(event), [], true);
    return client.sendMessage(id, event, text(body));
  },
  related: (client, { room, event, relation }) =>
    client.relations(room, event, relation, null).then(({ events }) => events.map((event) => event.getId())),
  threads: (client, { room }) => client.createThreadListMessagesRequest(room, null, 20, "b", "all").then(({ chunk }) => chunk.map((root) => root.event_id).reverse()),

  message(client, { room: id, event: eventId }) {
    const room = client.getRoom(id);
    const event = room.findEventById(eventId);
    if (!event) return null;
    const reactions = room.relations.getChildEventsForEvent(eventId, "m.annotation", EventType.Reaction)?.getSortedAnnotationsByKey() ?? [];
    return {
      body: event.getContent().body,
      edited: !!event.replacingEvent(),
      reactions: Object.fromEntries(reactions.filter(([, events]) => events.size).map(([key, events]) => [key, events.size])),
      reply_to: event.threadRootId ? undefined : event.replyEventId,
      thread: event.isThreadRoot ? undefined : event.threadRootId,
    };
  },
};

const marking = {
  // read marks the room as read up to the event: in its thread, if one is named.
  // What the SDK has not put into its thread yet is waited for.
  async read(client, { room, event: id, type, thread }) {
    let event;
    for (const end = Date.now() + 15_000; !(event = client.getRoom(room).findEventById(id)) && Date.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return client.sendReceipt(event, type, thread ? { thread_id: thread } : undefined, true);
  },
  fullyRead: (client, { room, event }) => client.setRoomReadMarkers(room, event),
  type: (client, { room, on }) => client.sendTyping(room, on, 20_000),
  set: (client, { room, type, content }) => (room ? client.setRoomAccountData(room, type, content) : client.setAccountData(type, content)),
  tag: (client, { room, tag, order }) => client.setRoomTag(room, tag, { order }),
  untag: (client, { room, tag }) => client.deleteRoomTag(room, tag),
  ignore: (client, { users }) => client.setIgnoredUsers(users),
  mute: (client, { room, on }) => client.setRoomMutePushRule("global", room, on),
  // setPresence is also for each /sync from now on, which would say online.
  async setPresence(client, { presence, status }) {
    await client.setSyncPresence(presence);
    await client.setPresence({ presence, status_msg: status });
  },

  readUpTo(client, { room: id, user, type, thread }) {
    const room = client.getRoom(id);
    return (thread ? room.getThread(thread) : room)?.getReadReceiptForUserId(user, true, type)?.eventId ?? "";
  },
  typing: (client, { room }) => client.getRoom(room).getMembers().filter((member) => member.typing).map((member) => member.userId),
  data: (client, { room, type }) => (room ? client.getRoom(room) : client).getAccountData(type)?.getContent() ?? null,
  muted: (client, { room }) => !!client.getRoomPushRule("global", room)?.enabled,
  presence: (client, { user }) => ({ presence: client.getUser(user)?.presence, status_msg: client.getUser(user)?.presenceStatusMsg }),
  unread(client, { room: id, thread }) {
    const room = client.getRoom(id);
    const count = (type) => (thread ? room.getThreadUnreadNotificationCount(thread, type) : room.getRoomUnreadNotificationCount(type));
    return { notification_count: count("total"), highlight_count: count("highlight") };
  },
};

const finding = {
  setState: (client, { room, type, key, content }) => client.sendStateEvent(room, type, content, key),
  upgrade: (client, { room, version }) => client.upgradeRoom(room, version).then(({ replacement_room: room_id }) => ({ room_id })),
  knock: (client, { room, reason }) => client.knockRoom(room, { reason }),
  enter: (client, { room }) => client.joinRoom(room).then(({ roomId: room_id }) => ({ room_id })),
  name: (client, { room, alias }) => client.createAlias(alias, room),
  unname: (client, { alias }) => client.deleteAlias(alias),
  resolve: (client, { alias }) => client.getRoomIdForAlias(alias),
  published: (client) => client.publicRooms({ limit: 1000 }).then(({ chunk }) => chunk.map(({ room_id }) => room_id)),
  people: (client, { term }) => client.searchUserDirectory({ term }).then(({ results }) => results.map(({ user_id }) => user_id)),
  hierarchy: (client, { room }) => client.getRoomHierarchy(room).then(({ rooms }) => rooms.map(({ name }) => name)),
  at: (client, { room, ts, dir }) => client.timestampToEvent(room, ts, dir),
  // around is what was said before and after an event, as a link to it opens.
  async around(client, { room: id, event }) {
    const timeline = await client.getEventTimeline(client.getRoom(id).getUnfilteredTimelineSet(), event);
    return timeline.getEvents().map((event) => event.getId());
  },
  search: (client, { term }) =>
    client.searchRoomEvents({ term }).then(({ results }) => results.map(({ context }) => context.getEvent().getContent().body)),
  notified: (client) =>
    client.http.authedRequest("GET", "/notifications", { limit: 20 }).then(({ notifications }) => notifications.flatMap(({ event }) => event.content.body ?? [])),

  state: (client, { room, type, key }) => client.getRoom(room)?.currentState.getStateEvents(type, key)?.getContent() ?? null,
  predecessor: (client, { room }) => client.getRoom(room)?.findPredecessor()?.roomId ?? "",
};

const belonging = {
  devices: (client) => client.getDevices().then(({ devices }) => devices),
  rename: (client, { device, name }) => client.setDeviceDetails(device, { display_name: name }),
  remove: (client, { device, password }) => confirm(client, password, (auth) => client.deleteDevice(device, auth)),
  setPassword: (client, { password, next }) => confirm(client, password, (auth) => client.setPassword(auth ?? null, next, true)),
  logoutAll: (client) => client.http.authedRequest("POST", "/logout/all"),
  openID: (client) => client.getOpenIdToken(),
  turn: (client) => client.turnServer(),
  push: (client, { key }) =>
    client.setPusher({
      app_display_name: "Gutter",
      app_id: "org.example.gutter",
      data: { url: "https://push.example.org/_matrix/push/v1/notify", format: "event_id_only" },
      device_display_name: "phone",
      kind: "http",
      lang: "en",
      pushkey: key,
    }),
  pushers: (client) => client.getPushers().then(({ pushers }) => pushers.map(({ pushkey }) => pushkey)),
};

// confirm does what takes a password once more.
async function confirm(client, password, act) {
  try {
    return await act();
  } catch (err) {
    if (!err.data?.session) throw err;
    return act({ type: "m.login.password", identifier: { type: "m.id.user", user: client.getUserId() }, password, session: err.data.session });
  }
}

export default { ...talking, ...marking, ...finding, ...belonging };
