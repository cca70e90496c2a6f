local actions = {}
if obj.metadata.deletionTimestamp ~= nil then
  return actions
end
if obj.status ~= nil then
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.type == "Finished" and condition.status == "True" then
      return actions
    end
  end
end
if obj.spec.suspend then
  actions["resume"] = { iconClass = "fa fa-fw fa-play" }
else
  actions["suspend"] = { iconClass = "fa fa-fw fa-pause" }
end
if not obj.spec.cancel then
  actions["cancel"] = { iconClass = "fa fa-fw fa-stop" }
end
return actions
