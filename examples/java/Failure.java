import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What a failed call says, read from its status.
 *
 * @param reason the server's stable name of the error; empty if gRPC itself failed the call
 * @param fields what is wrong, by the path of the field
 * @param retryAfter when to try again; null if the server does not say
 */
record Failure(
    Status.Code code, String message, String reason, Map<String, String> fields, Duration retryAfter) {

  /** Reads the details, which are a google.rpc.Status: https://grpc.io/docs/guides/error/ */
  static Failure of(StatusRuntimeException error) {
    String reason = "";
    Map<String, String> fields = new LinkedHashMap<>();
    Duration retryAfter = null;
    try {
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          reason = detail.unpack(ErrorInfo.class).getReason();
        } else if (detail.is(BadRequest.class)) {
          for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            fields.put(violation.getField(), violation.getDescription());
          }
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      // The status beside the details still says what happened.
    }
    String message = error.getStatus().getDescription();
    return new Failure(
        error.getStatus().getCode(), message == null ? "" : message, reason, fields, retryAfter);
  }
}
