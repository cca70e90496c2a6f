-- A lane that is throttled is healthy: cooling models are part of its work. Only a server that does not serve is Degraded.
local hs = { status = "Progressing", message = "the operator has not seen this version yet" }
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "is being deleted"
  return hs
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local said = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  said[condition.type] = condition
end
local shown = said.Ready
if said.Paused ~= nil and said.Paused.status == "True" then
  hs.status = "Suspended"
  shown = said.Paused
elseif shown ~= nil and shown.status == "True" then
  hs.status = "Healthy"
  if said.Throttled ~= nil and said.Throttled.status == "True" then
    shown = said.Throttled
  end
elseif shown ~= nil and shown.status == "False" then
  hs.status = "Degraded"
end
if shown ~= nil then
  hs.message = shown.reason
  if shown.message ~= nil and shown.message ~= "" then
    hs.message = shown.reason .. ": " .. shown.message
  end
end
return hs
