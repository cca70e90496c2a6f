-- The status is kstatus-shaped (observedGeneration, Reconciling, Stalled). Conditions are read one by one all the same,
-- because kstatus has no word for a run that waits for a person: Suspended here.
local hs = { status = "Progressing", message = "the operator has not seen this version yet" }
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "is being deleted"
  return hs
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local function words(condition)
  if condition.message == nil or condition.message == "" then
    return condition.reason
  end
  return condition.reason .. ": " .. condition.message
end
local said = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  said[condition.type] = condition
end
local admitted = said.Admitted or {}
local finished = said.Finished or {}
if finished.status == "True" then
  hs.status = "Degraded"
  if said.Succeeded ~= nil and said.Succeeded.status == "True" then
    hs.status = "Healthy"
  end
  hs.message = words(finished)
elseif admitted.status == "True" then
  hs.message = words(finished)
elseif admitted.reason ~= nil then
  if admitted.reason == "Suspended" or admitted.reason == "LimitPaused" then
    hs.status = "Suspended"
  end
  hs.message = words(admitted)
end
return hs
