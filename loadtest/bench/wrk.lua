-- Sends the lines of a file as JSON bodies, one after the other; prints the result as JSON.
local bodies = {}
local sent = 0

function init(args)
  for line in io.lines(args[1]) do
    bodies[#bodies + 1] = line
  end
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  sent = sent % #bodies + 1
  return wrk.format("POST", nil, nil, bodies[sent])
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "duration_us": %d, "p50_us": %f, "p99_us": %f, "failed": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end
