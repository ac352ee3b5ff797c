-- Membership by consent, for frontends to call directly.
--
-- Guarantees: only the invited user accepts or declines, by id or by an address that this user has confirmed; an
-- invitation is answered once and before it expires; what is not the caller's to answer reads as not found. Becoming
-- a member twice is being a member.

CREATE OR REPLACE FUNCTION public.accept_workspace_invitation(p_invitation_id uuid)
RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_invitation record;
BEGIN
    UPDATE public.workspace_invitations
    SET
        status = 'accepted',
        responded_at = clock_timestamp()
    WHERE id = p_invitation_id
      AND status = 'pending'
      AND expires_at > now()
      AND (invited_user_id = auth.uid() OR invited_email = app.confirmed_email())
    RETURNING workspace_id, role, invited_by_user_id
    INTO v_invitation;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'invitation_not_found', 'Invitation not found.');
    END IF;

    INSERT INTO public.workspace_members (workspace_id, user_id, role, added_by_user_id)
    VALUES (v_invitation.workspace_id, auth.uid(), v_invitation.role, v_invitation.invited_by_user_id)
    ON CONFLICT (workspace_id, user_id) DO NOTHING;

    RETURN v_invitation.workspace_id;
END
$$;

CREATE OR REPLACE FUNCTION public.decline_workspace_invitation(p_invitation_id uuid)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    UPDATE public.workspace_invitations
    SET
        status = 'declined',
        responded_at = clock_timestamp()
    WHERE id = p_invitation_id
      AND status = 'pending'
      AND (invited_user_id = auth.uid() OR invited_email = app.confirmed_email());

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'invitation_not_found', 'Invitation not found.');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION public.accept_team_invitation(p_invitation_id uuid)
RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    v_team_id uuid;
BEGIN
    UPDATE public.team_invitations
    SET
        status = 'accepted',
        responded_at = clock_timestamp()
    WHERE id = p_invitation_id
      AND status = 'pending'
      AND expires_at > now()
      AND (invited_user_id = auth.uid() OR invited_email = app.confirmed_email())
    RETURNING team_id
    INTO v_team_id;

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'invitation_not_found', 'Invitation not found.');
    END IF;

    INSERT INTO public.user_team_memberships (user_id, team_id)
    VALUES (auth.uid(), v_team_id)
    ON CONFLICT (user_id, team_id) DO NOTHING;

    RETURN v_team_id;
END
$$;

CREATE OR REPLACE FUNCTION public.decline_team_invitation(p_invitation_id uuid)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    UPDATE public.team_invitations
    SET
        status = 'declined',
        responded_at = clock_timestamp()
    WHERE id = p_invitation_id
      AND status = 'pending'
      AND (invited_user_id = auth.uid() OR invited_email = app.confirmed_email());

    IF NOT FOUND THEN
        PERFORM app.refuse(404, 'invitation_not_found', 'Invitation not found.');
    END IF;
END
$$;

REVOKE ALL ON FUNCTION
    public.accept_workspace_invitation(uuid),
    public.decline_workspace_invitation(uuid),
    public.accept_team_invitation(uuid),
    public.decline_team_invitation(uuid)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION
    public.accept_workspace_invitation(uuid),
    public.decline_workspace_invitation(uuid),
    public.accept_team_invitation(uuid),
    public.decline_team_invitation(uuid)
TO authenticated;
