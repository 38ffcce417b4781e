// What a failed call says, read from its status.

#pragma once

#include <string>
#include <vector>

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>

struct Failure {
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  std::string message;
  // The server's stable name of the error. Empty if gRPC itself failed the call.
  std::string reason;
  // The fields that are wrong, as pairs of a path and what is wrong with it.
  std::vector<std::pair<std::string, std::string>> fields;
  // When to try again, in milliseconds; -1 if the server does not say.
  double retry_after_ms = -1;
};

// The details are a serialized google.rpc.Status: https://grpc.io/docs/guides/error/
inline Failure ReadFailure(const grpc::Status& status) {
  Failure failure;
  failure.code = status.error_code();
  failure.message = status.error_message();
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) {
    return failure;
  }
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info)) {
      failure.reason = info.reason();
    } else if (detail.UnpackTo(&bad_request)) {
      for (const auto& violation : bad_request.field_violations()) {
        failure.fields.emplace_back(violation.field(), violation.description());
      }
    } else if (detail.UnpackTo(&retry)) {
      failure.retry_after_ms = retry.retry_delay().seconds() * 1e3 + retry.retry_delay().nanos() / 1e6;
    }
  }
  return failure;
}
