-- Sends every study that has become stable to WhyRay, except what WhyRay itself sent back.
-- RestApiPost to the modality, not SendToModality: the latter fails in OnStableStudy of Orthanc 1.10.

function OnStableStudy(studyId, tags, metadata)
   local study = ParseJson(RestApiGet('/studies/' .. studyId, false))
   for _, seriesId in pairs(study['Series']) do
      local series = ParseJson(RestApiGet('/series/' .. seriesId, false))
      local first = series['Instances'][1]
      local remote = RestApiGet('/instances/' .. first .. '/metadata/RemoteAET', false)
      if remote ~= 'WHYRAY' then
         RestApiPost('/modalities/WHYRAY/store', '"' .. seriesId .. '"', false)
      end
   end
end
