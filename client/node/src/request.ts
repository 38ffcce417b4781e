/** A request, as plain values, and how it goes over the wire. */

import { create } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { DURATION_MAX, fromMilliseconds } from "./duration.js";
import { invalid } from "./errors.js";
import { type Conversation, toMessages } from "./message.js";
import { type RouteRequest as WireRequest, RouteRequestSchema } from "./stubs/archroute/v1/router_pb.js";

const UINT32_MAX = 2 ** 32 - 1;

/** One thing a user can want, in words, and the models that serve it. */
export interface Policy {
  /** Unique in its set, not empty, not `other`. */
  readonly name: string;
  /** What the policy covers: specific, noun-centred, without overlap with the others. */
  readonly description: string;
  /** Downstream models, the preferred one first. Opaque to the router. */
  readonly models?: readonly string[];
}

/** How a conversation is to be decided. */
export interface RouteOptions {
  /** The name of a policy set on the server. With neither this nor `policies`, its default set. */
  readonly policySet?: string;
  /** The policies themselves, instead of `policySet`. */
  readonly policies?: readonly Policy[];
  /** The name of the one of `policies` that a decision with the outcome `fallback` names. */
  readonly defaultPolicy?: string;
  /** How many entries of the ranking to return, best first. 0, the default, returns all. */
  readonly topK?: number;
  /** Below this probability, from 0 to 1, the outcome is `low_confidence`. 0, the default, accepts every decision. */
  readonly minProbability?: number;
  /** Names the conversation, so that the turns of one can be told from another's. */
  readonly sessionId?: string;
  /**
   * Milliseconds that the server may take to decide, before the outcome is `fallback`. Give the call a longer
   * timeout than that.
   */
  readonly decideBy?: number;
}

/** What goes over a stream: the conversation with its options. */
export interface RouteRequest extends RouteOptions {
  readonly messages: Conversation;
}

/**
 * Converts a request. Checks each value by itself; whether they make sense is for the server to say.
 * Throws `InvalidRequestError`, which names the field.
 */
export function toRequest(request: RouteRequest): WireRequest {
  if (request.policies !== undefined && request.policySet !== undefined) {
    throw invalid("policySet", "give either policySet or policies, not both");
  }
  if (request.defaultPolicy !== undefined && request.policies === undefined) {
    throw invalid("defaultPolicy", "goes with policies; a policy set on the server declares its own");
  }
  return create(RouteRequestSchema, {
    policies: toPolicies(request),
    messages: toMessages(request.messages),
    options: {
      topK: within(request.topK ?? 0, "topK", UINT32_MAX, Number.isInteger(request.topK ?? 0)),
      minProbability: within(request.minProbability ?? 0, "minProbability", 1),
      ...(request.decideBy === undefined ? {} : { decideBy: toDuration(request.decideBy) }),
    },
    sessionId: request.sessionId ?? "",
  });
}

function toPolicies(request: RouteRequest): WireRequest["policies"] {
  if (request.policies !== undefined) {
    const policies = request.policies.map(({ name, description, models = [] }) => ({
      name,
      description,
      models: [...models],
    }));
    const value = { policies, defaultPolicy: request.defaultPolicy ?? "" };
    return create(RouteRequestSchema, { policies: { case: "inlinePolicies", value } }).policies;
  }
  if (request.policySet !== undefined) {
    return { case: "policySet", value: request.policySet };
  }
  return { case: undefined };
}

function within(value: number, field: string, most: number, whole = true): number {
  if (typeof value !== "number" || !(value >= 0 && value <= most) || !whole) {
    throw invalid(field, `must be a ${most === UINT32_MAX ? "whole number from 0" : `number from 0 to ${most}`}`);
  }
  return value;
}

function toDuration(milliseconds: number): Duration {
  if (typeof milliseconds !== "number" || !(milliseconds > 0 && milliseconds <= DURATION_MAX)) {
    throw invalid("decideBy", "must be a number of milliseconds above 0");
  }
  return fromMilliseconds(milliseconds);
}
