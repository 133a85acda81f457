# Replaces nixpkgs if that cannot be downloaded. It provides the host's programs and a
# Debian guest under the names that the repository's flake.nix uses, with those
# interfaces of nixpkgs that it uses. images/nixos/with-standin runs nix with it.
{
  # A directory with host.json, and the guest's manifest.json; see with-standin.
  inputs.host = {
    url = "path:/var/empty";
    flake = false;
  };

  outputs =
    { self, host }:
    let
      facts = builtins.fromJSON (builtins.readFile "${host}/host.json");
      lib = import ./lib.nix // {
        # It does not evaluate the guest's module, but uses an image of the host.
        nixosSystem =
          { system, specialArgs, ... }:
          {
            config.system.build.vmtestImage = import ./guest.nix {
              inherit facts;
              inherit (self.legacyPackages.${system}) runCommand;
              inherit (specialArgs) seal;
              debian = builtins.fromJSON (builtins.readFile "${host}/manifest.json");
            };
          };
      };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
        system: import ./packages.nix { inherit lib system facts; }
      );
    };
}
