/** The answer to a request, as plain values. */

import { toMilliseconds } from "./duration.js";
import { ProtocolError } from "./errors.js";
import { FallbackReason as WireFallbackReason, Outcome as WireOutcome, type RouteResponse } from "./stubs/archroute/v1/router_pb.js";

/**
 * How a decision ended.
 *
 * - `matched`: the model chose a policy.
 * - `other`: the model decided that no policy fits.
 * - `low_confidence`: the best choice was less probable than `minProbability`.
 * - `fallback`: the model did not decide within `decideBy`.
 * - `unrecognized`: the server is newer and gave an outcome that this client does not know.
 */
export type Outcome = "matched" | "other" | "low_confidence" | "fallback" | "unrecognized";

/** Why the outcome is `fallback`: the time ran out, or it was foreseen that it would. Empty for any other. */
export type FallbackReason = "" | "decide_by_passed" | "decide_by_unreachable";

/** One answer of the ranking. */
export interface RankedPolicy {
  /** A policy's name, or `other`, which no policy may be called. */
  readonly policy: string;
  /** Among all answers of the policy set, from 0 to 1. */
  readonly probability: number;
}

/** What decided, so that an answer can be explained and reproduced. */
export interface Revisions {
  /** SHA-256 of the model bundle's manifest, as `sha256:<hex>`. */
  readonly bundleDigest: string;
  /** For example `arch-router/model-card`. */
  readonly promptVariant: string;
  /** Empty for policies that came with the request. */
  readonly policySet: string;
  /** SHA-256 of the policies, as `sha256:<hex>`. */
  readonly policySetRevision: string;
  /** The execution provider that ran the model, for example `cpu`. */
  readonly provider: string;
  /** What the model's probabilities were calibrated with; null if its bundle never was. */
  readonly temperature: number | null;
}

/** Counts of the model's own tokens, save the last two. */
export interface TokenUsage {
  /** Of the prompt as the model read it, policies and chat frame included. */
  readonly promptTokens: number;
  /** Of those, taken from the prefix cache instead of being computed. */
  readonly cachedTokens: number;
  /** Of conversation text that was cut to fit the budget. */
  readonly droppedTokens: number;
  /** User and assistant messages that were left out to fit the budget. */
  readonly droppedMessages: number;
  /** Runs of the model that the decision took. */
  readonly forwardPasses: number;
}

/** Where the time went, in milliseconds, as the server saw it. */
export interface Timings {
  /** From the request's arrival to its answer. */
  readonly total: number;
  /** Waiting for the model to be free. */
  readonly queue: number;
  /** Rendering and tokenizing the prompt. */
  readonly tokenize: number;
  /** Running the model. */
  readonly inference: number;
}

/** Which policy a conversation calls for, and how sure the router is. */
export interface Decision {
  /** The matched policy, or for `fallback` the set's default policy, if it declares one. Else null. */
  readonly policy: string | null;
  readonly outcome: Outcome;
  /** Of the choice, whatever the outcome, from 0 to 1. 0 for `fallback`, which has no choice. */
  readonly probability: number;
  /** Every answer of the set, `other` included, most probable first, cut to `topK`. */
  readonly ranking: readonly RankedPolicy[];
  /** The models of `policy`. Empty if that is null. */
  readonly models: readonly string[];
  readonly revisions: Revisions;
  readonly tokens: TokenUsage;
  readonly timings: Timings;
  /** As in the request. */
  readonly sessionId: string;
  /** Whether exactly the same was decided a moment ago, so that the model was not run again. */
  readonly fromDecisionCache: boolean;
  readonly fallbackReason: FallbackReason;
}

const OUTCOMES: ReadonlyMap<WireOutcome, Outcome> = new Map([
  [WireOutcome.MATCHED, "matched"],
  [WireOutcome.OTHER, "other"],
  [WireOutcome.LOW_CONFIDENCE, "low_confidence"],
  [WireOutcome.FALLBACK, "fallback"],
]);

const FALLBACK_REASONS: ReadonlyMap<WireFallbackReason, FallbackReason> = new Map([
  [WireFallbackReason.DECIDE_BY_PASSED, "decide_by_passed"],
  [WireFallbackReason.DECIDE_BY_UNREACHABLE, "decide_by_unreachable"],
]);

/**
 * Reads an answer. Whatever its other fields say, only `matched` and `fallback` give a policy and models.
 * Throws `ProtocolError` if the answer has no outcome, or is `matched` and names no policy.
 */
export function toDecision(response: RouteResponse, address: string): Decision {
  if (response.outcome === WireOutcome.UNSPECIFIED) {
    throw new ProtocolError(`the answer from ${address} has no outcome: it is no archroute decision`);
  }
  const outcome = OUTCOMES.get(response.outcome) ?? "unrecognized";
  if (outcome === "matched" && !response.policy) {
    throw new ProtocolError(`the answer from ${address} is MATCHED but names no policy`);
  }
  const policy = outcome === "matched" || outcome === "fallback" ? response.policy || null : null;
  const { revisions, tokens, timings } = response;
  return {
    policy,
    outcome,
    probability: response.probability,
    ranking: response.ranking.map(({ policy, probability }) => ({ policy, probability })),
    models: policy === null ? [] : response.models,
    revisions: {
      bundleDigest: revisions?.bundleDigest ?? "",
      promptVariant: revisions?.promptVariant ?? "",
      policySet: revisions?.policySet ?? "",
      policySetRevision: revisions?.policySetRevision ?? "",
      provider: revisions?.provider ?? "",
      temperature: revisions?.temperature || null,
    },
    tokens: {
      promptTokens: tokens?.promptTokens ?? 0,
      cachedTokens: tokens?.cachedTokens ?? 0,
      droppedTokens: tokens?.droppedTokens ?? 0,
      droppedMessages: tokens?.droppedMessages ?? 0,
      forwardPasses: tokens?.forwardPasses ?? 0,
    },
    timings: {
      total: toMilliseconds(timings?.total),
      queue: toMilliseconds(timings?.queue),
      tokenize: toMilliseconds(timings?.tokenize),
      inference: toMilliseconds(timings?.inference),
    },
    sessionId: response.sessionId,
    fromDecisionCache: response.fromDecisionCache,
    fallbackReason: FALLBACK_REASONS.get(response.fallbackReason) ?? "",
  };
}
