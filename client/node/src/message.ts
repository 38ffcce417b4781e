/** Messages of a conversation, and how they go over the wire. */

import { create } from "@bufbuild/protobuf";
import { invalid } from "./errors.js";
import { type Message as WireMessage, MessageSchema, type Part, PartSchema, Role } from "./stubs/archroute/v1/router_pb.js";

const ROLES = {
  system: Role.SYSTEM,
  developer: Role.DEVELOPER,
  user: Role.USER,
  assistant: Role.ASSISTANT,
  tool: Role.TOOL,
  /** The older name of `tool`. */
  function: Role.TOOL,
} as const;

// Of the chat completions API, and of the responses API.
const TEXT_PARTS: readonly string[] = ["text", "input_text", "output_text"];

/** A part of a message, as OpenAI writes it. Parts other than text are sent as parts that the router skips. */
export interface MessagePart {
  readonly type: string;
  readonly text?: string;
  readonly [field: string]: unknown;
}

/** One message, as OpenAI writes it. */
export interface Message {
  readonly role: keyof typeof ROLES;
  /** Text, parts, or null for a message that has none. */
  readonly content: string | readonly MessagePart[] | null;
}

/** Messages, oldest first, or the text of a single user message. */
export type Conversation = string | readonly Message[];

/** Converts a conversation. Throws `InvalidRequestError`, which names the message, such as `messages[2].role`. */
export function toMessages(conversation: Conversation): WireMessage[] {
  if (typeof conversation === "string") {
    return [toMessage({ role: "user", content: conversation }, "messages[0]")];
  }
  if (!Array.isArray(conversation)) {
    throw invalid("messages", "must be a list of messages or a string");
  }
  return conversation.map((message: Message, index) => toMessage(message, `messages[${index}]`));
}

function toMessage(message: Message, field: string): WireMessage {
  // What TypeScript rules out, JavaScript does not.
  if (typeof message !== "object" || message === null || !Object.hasOwn(ROLES, message.role)) {
    throw invalid(`${field}.role`, `must be one of ${Object.keys(ROLES).join(", ")}`);
  }
  return create(MessageSchema, {
    role: ROLES[message.role],
    parts: toParts(message.content ?? [], `${field}.content`),
  });
}

function toParts(content: string | readonly MessagePart[], field: string): Part[] {
  if (typeof content === "string") {
    return [textPart(content)];
  }
  if (!Array.isArray(content)) {
    throw invalid(field, "must be a string, a list of parts or null");
  }
  return content.map((part: MessagePart, index) => {
    if (!TEXT_PARTS.includes(part?.type)) {
      return create(PartSchema);
    }
    if (typeof part.text !== "string") {
      throw invalid(`${field}[${index}].text`, "must be a string");
    }
    return textPart(part.text);
  });
}

function textPart(text: string): Part {
  return create(PartSchema, { content: { case: "text", value: text } });
}
