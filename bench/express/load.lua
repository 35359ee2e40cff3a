-- A request of each of so many organizations in turn.
local organizations = tonumber(os.getenv("ORGANIZATIONS") or "100")
local number = 0
request = function()
  number = (number + 1) % organizations
  return wrk.format("GET", "/hello", { ["x-organization"] = "org-" .. number })
end
done = function(summary, latency, _)
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
