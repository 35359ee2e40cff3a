-- A link says who had it made and when, and an invitation has an id (people/link.rs). Those from before, and the mails that wait to
-- carry one, say neither: they go. None lasts longer than a week, and whoever was invited is invited again.
DELETE FROM links;
DELETE FROM letters;
