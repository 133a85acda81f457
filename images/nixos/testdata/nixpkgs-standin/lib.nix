# The functions of nixpkgs' lib that flake.nix uses.
rec {
  inherit (builtins) concatMap concatStringsSep listToAttrs;
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  nameValuePair = name: value: { inherit name value; };
  mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
  hasPrefix = prefix: s: builtins.substring 0 (builtins.stringLength prefix) s == prefix;
  hasSuffix =
    suffix: s:
    let
      n = builtins.stringLength suffix;
      m = builtins.stringLength s;
    in
    m >= n && builtins.substring (m - n) n s == suffix;
  removePrefix =
    prefix: s: if hasPrefix prefix s then builtins.substring (builtins.stringLength prefix) (-1) s else s;
  removeSuffix =
    suffix: s:
    if hasSuffix suffix s then
      builtins.substring 0 (builtins.stringLength s - builtins.stringLength suffix) s
    else
      s;
  makeBinPath = packages: concatStringsSep ":" (map (p: "${p}/bin") packages);
}
